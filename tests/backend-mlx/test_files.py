"""One folder out of a model's files."""

import pytest

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.model import ModelFile, ModelSpec
from aiadmin_mlx.files import model_folder, names_for_loading


def spec(*files):
    return ModelSpec(name="m", digest="sha256:0", format="safetensors", files=files)


def file(path, name="", role="model"):
    path.write_text(path.name)
    return ModelFile(role=role, path=str(path), name=name)


def test_files_that_lie_together_under_their_own_names_are_used_in_place(tmp_path):
    with model_folder(spec(file(tmp_path / "config.json"), file(tmp_path / "model.safetensors"))) as folder:
        assert folder == tmp_path


def test_blobs_are_linked_under_the_names_they_have_in_the_model(tmp_path):
    blobs = spec(file(tmp_path / "sha256-1", "config.json"), file(tmp_path / "sha256-2", "model.safetensors"))

    with model_folder(blobs) as folder:
        assert {path.name: path.read_text() for path in folder.iterdir()} == {
            "config.json": "sha256-1",
            "model.safetensors": "sha256-2",
        }
    assert not folder.exists()
    assert (tmp_path / "sha256-1").exists()


def test_files_are_copied_where_links_are_not_allowed(tmp_path, monkeypatch):
    def no_links(self, target):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr("pathlib.Path.symlink_to", no_links)

    with model_folder(spec(file(tmp_path / "sha256-1", "sub/config.json"))) as folder:
        assert (folder / "sub" / "config.json").read_text() == "sha256-1"


@pytest.mark.parametrize("name", ["../config.json", "/etc/config.json", "a/../../b", "C:\\config.json", "..\\b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ModelLoadFailed, match="outside the model"), model_folder(spec(file(tmp_path / "blob", name))):
        pass


def test_a_missing_file_is_named(tmp_path):
    gone = ModelFile(role="model", path=str(tmp_path / "gone"), name="model.safetensors")

    with pytest.raises(ModelLoadFailed, match=r"model\.safetensors is not at") as raised, model_folder(spec(gone)):
        pass
    assert "aiadmin pull m" in raised.value.hint


def test_adapters_are_no_part_of_the_model(tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    files = spec(file(tmp_path / "config.json"), file(other / "adapter.safetensors", role="adapter"))

    with model_folder(files) as folder:
        assert folder == tmp_path


@pytest.mark.parametrize(
    ("names", "loaded"),
    [
        (["model.safetensors", "config.json"], ["model.safetensors", "config.json"]),
        (["weights.00.safetensors", "config.json"], ["model-weights.00.safetensors", "config.json"]),
        (["model-1.safetensors", "consolidated.safetensors"], ["model-1.safetensors", "consolidated.safetensors"]),
    ],
)
def test_weights_get_the_prefix_that_mlx_lm_looks_for_where_none_has_it(names, loaded):
    assert names_for_loading(names) == loaded
