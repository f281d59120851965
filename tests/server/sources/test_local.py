"""Models from this machine's own disk."""

from pathlib import Path

import pytest

from aiadmin_core.errors import PullFailed
from aiadmin_core.sources import FetchedModel
from aiadmin_server.sources.local import LocalSource, local_path, suggest_name


def fetch(path: Path | str, *, in_place: bool = False) -> FetchedModel:
    return LocalSource(in_place=in_place).fetch(str(path), workdir=Path(), progress=lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as a hub lays it out."""
    folder = tmp_path / "SmolLM2 135M"
    folder.mkdir()
    for name in (
        "config.json", "generation_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "merges.txt", "chat_template.jinja",
        "README.md", ".gitattributes",
    ):  # fmt: skip
        (folder / name).write_text(name)
    return folder


def test_a_gguf_file_is_a_model(tmp_path: Path):
    path = tmp_path / "SmolLM2-135M.Q4_1.gguf"
    path.write_bytes(b"GGUF...")
    fetched = fetch(path)
    assert [(file.path, file.role, file.keep_in_place) for file in fetched.files] == [(path, "model", False)]
    assert (fetched.format, fetched.suggested_name) == ("gguf", "smollm2-135m.q4_1")
    assert fetch(path, in_place=True).files[0].keep_in_place


def test_a_folder_of_safetensors_is_a_model_of_several_files(folder: Path):
    fetched = fetch(folder)
    assert (fetched.format, fetched.suggested_name) == ("safetensors", "smollm2-135m")
    assert {file.name: file.role for file in fetched.files} == {
        "model-00001-of-00002.safetensors": "model",
        "model-00002-of-00002.safetensors": "model",
        "config.json": "config",
        "generation_config.json": "config",
        "model.safetensors.index.json": "config",
        "tokenizer.json": "tokenizer",
        "tokenizer_config.json": "tokenizer",
        "merges.txt": "tokenizer",
        "chat_template.jinja": "tokenizer",
    }
    assert fetched.files[0].role == "model"


def test_a_split_model_stays_where_its_parts_are(tmp_path: Path):
    parts = [tmp_path / f"big-0000{index}-of-00003.gguf" for index in (1, 2, 3)]
    for part in parts:
        part.write_bytes(b"GGUF")
    with pytest.raises(PullFailed, match="one of 3 parts") as caught:
        fetch(parts[1])
    assert f"aiadmin pull link:{parts[1]}" in caught.value.hint
    assert [file.path for file in fetch(parts[1], in_place=True).files] == parts
    parts[2].unlink()
    with pytest.raises(PullFailed, match="1 are not beside it: big-00003"):
        fetch(parts[0], in_place=True)


def test_what_is_no_model_is_said(tmp_path: Path, folder: Path):
    (tmp_path / "text.gguf").write_text("hello")
    (tmp_path / "empty.gguf").write_bytes(b"")
    with pytest.raises(PullFailed, match="does not start as a GGUF file does"):
        fetch(tmp_path / "text.gguf")
    with pytest.raises(PullFailed, match="does not start"):
        fetch(tmp_path / "empty.gguf")
    with pytest.raises(PullFailed, match="There is no file or folder"):
        fetch(tmp_path / "nothing.gguf")
    with pytest.raises(PullFailed, match=r"\*\.safetensors and config\.json missing"):
        fetch(tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(PullFailed, match=r"holds no model: config\.json missing"):
        fetch(folder)


def test_paths_are_claimed_and_names_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "model.gguf").touch()
    source = LocalSource()
    for path in ("./x", "../x", "/x", "~/x", "x.gguf", "a/b.GGUF", "here", "C:\\x", "d:/x"):
        assert source.claims(path), path
    for name in ("smollm2", "smollm2:latest", "org/model", "x:y"):
        assert not source.claims(name), name


def test_one_file_has_one_origin_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    expected = f"file:{tmp_path / 'a b.gguf'}"
    for reference in ("a b.gguf", "./a b.gguf", "x/../a b.gguf", "~/a b.gguf", str(tmp_path / "a b.gguf")):
        assert LocalSource().origin(reference) == expected
    assert LocalSource(in_place=True).origin("a b.gguf") == expected
    assert local_path((tmp_path / "a b.gguf").as_uri().removeprefix("file:")) == tmp_path / "a b.gguf"


@pytest.mark.parametrize(
    ("text", "name"),
    [("SmolLM2 135M.Q4_1", "smollm2-135m.q4_1"), (".hidden", "hidden"), ("日本", "model"), ("a" * 100, "a" * 80)],
)
def test_a_name_is_made_of_a_files(text: str, name: str):
    assert suggest_name(text) == name


def test_a_folder_that_has_a_models_name_by_chance_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mistral").mkdir()
    source = LocalSource()
    assert not source.claims("mistral")
    assert source.claims("./mistral")
    (tmp_path / "mistral" / "model.safetensors").touch()
    assert source.claims("mistral")
