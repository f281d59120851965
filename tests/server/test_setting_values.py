"""What the text of one setting stands for, as it is read with the others."""

from pathlib import Path

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_server.settings import load_settings


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0", "0.0.0.0", 11434),
        ("0.0.0.0:80", "0.0.0.0", 80),
        (":8080", "127.0.0.1", 8080),
        ("http://example.org", "example.org", 80),
        ("https://example.org/path", "example.org", 443),
        ("https://example.org:9/path", "example.org", 9),
        ("[::1]:5", "::1", 5),
        ("::1", "::1", 11434),
        ("localhost:nonsense", "localhost", 11434),
        ("localhost:99999", "localhost", 11434),
        ("' 10.0.0.1:7 '", "10.0.0.1", 7),
    ],
)
def test_hosts(text, host, port):
    settings = load_settings({"AIADMIN_HOST": text})
    assert (settings.host, settings.port) == (host, port)


def test_a_word_that_means_nothing_is_refused():
    with pytest.raises(BadRequest, match="AIADMIN_UNKNOWN_FIELDS is ignore or refuse, not 'drop'"):
        load_settings({"AIADMIN_UNKNOWN_FIELDS": "drop"})


def test_a_key_that_cannot_be_sent_is_refused_and_not_shown():
    with pytest.raises(BadRequest, match="AIADMIN_API_KEY") as caught:
        load_settings({"AIADMIN_API_KEY": "sk-sécret"})
    assert "cret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://127.0.0.1:11500", "https://127.0.0.1:11500"),
        ("http://127.0.0.1:11500/path/", "http://127.0.0.1:11500/path"),
        ("HTTPS://Example.org/a/b", "https://Example.org:443/a/b"),
        ("[::1]:5/x", "http://[::1]:5/x"),
        ("http://127.0.0.1:11500/", "http://127.0.0.1:11500"),
    ],
)
def test_scheme_and_path_of_an_address_are_kept(text, url):
    assert load_settings({"AIADMIN_HOST": text}).url == url


@pytest.mark.parametrize("text", ["ftp://host", "http://me:secret@host", "http://host/?key=secret", "host#secret"])
def test_what_an_address_cannot_mean_is_refused_and_not_repeated(text):
    with pytest.raises(BadRequest, match="AIADMIN_HOST") as caught:
        load_settings({"AIADMIN_HOST": text})
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["http://host", "host:80", "a/b", "a b", "sünde"])
def test_an_allowed_host_is_a_name_alone(text):
    with pytest.raises(BadRequest, match="AIADMIN_ALLOWED_HOSTS"):
        load_settings({"AIADMIN_ALLOWED_HOSTS": f"good.example, {text}"})


@pytest.fixture
def homeless(monkeypatch):
    def no_home(*arguments):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(Path, "expanduser", lambda path: no_home() if str(path).startswith("~") else path)


def test_without_a_home_the_named_folders_are_enough(homeless):
    settings = load_settings({"AIADMIN_MODELS": "/m"})
    assert (settings.models, settings.state) == (Path("/m"), Path("/m/aiadmin/state"))
    assert load_settings({"AIADMIN_STATE": "/s"}).models == Path("/s/models")
    with pytest.raises(BadRequest, match="no home folder") as caught:
        load_settings({})
    assert "AIADMIN_MODELS" in caught.value.hint
    with pytest.raises(BadRequest, match="'~' in AIADMIN_MODELS"):
        load_settings({"AIADMIN_MODELS": "~/models"})


def test_the_registry_is_a_host_and_credentials_belong_to_one():
    settings = load_settings(
        {"AIADMIN_REGISTRY": "Registry.example:5000/", "AIADMIN_REGISTRY_CREDENTIALS": "A:1=me:x:y"}
    )
    assert settings.registry == "https://registry.example:5000"
    assert settings.registry_credentials == {"a:1": ("me", "x:y")}
    assert load_settings({"AIADMIN_REGISTRY": "http://localhost:5000"}).registry == "http://localhost:5000"


@pytest.mark.parametrize("text", ["ftp://host", "https://me:secret@host", "host/path", "a b"])
def test_what_is_no_registry_is_refused_and_not_repeated(text):
    with pytest.raises(BadRequest, match="AIADMIN_REGISTRY") as caught:
        load_settings({"AIADMIN_REGISTRY": text})
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(BadRequest, match="AIADMIN_REGISTRY_CREDENTIALS") as caught:
        load_settings({"AIADMIN_REGISTRY_CREDENTIALS": "host=secret"})
    assert "secret" not in f"{caught.value} {caught.value.hint}"


def test_more_engines_than_any_machine_has_devices_are_refused_with_the_bound():
    assert load_settings({"AIADMIN_REPLICAS": "64"}).n_replicas == 64
    with pytest.raises(BadRequest, match="AIADMIN_REPLICAS is at most 64, not 65") as caught:
        load_settings({"AIADMIN_REPLICAS": "65"})
    assert caught.value.param == "AIADMIN_REPLICAS"


@pytest.mark.parametrize("name", ["AIADMIN_MODELS", "AIADMIN_STATE"])
@pytest.mark.parametrize(("below", "verb"), [("", "names"), ("some/folder", "lies in")])
def test_a_file_is_no_folder_to_keep_models_or_state_in(tmp_path, name, below, verb):
    """Nothing would be listed, and the first pull would fail."""
    (tmp_path / "model.gguf").touch()
    with pytest.raises(BadRequest, match=f"{name} {verb} a file, not a folder: .*model.gguf") as caught:
        load_settings({"AIADMIN_STATE": str(tmp_path), name: str(tmp_path / "model.gguf" / below)})
    assert caught.value.param == name
