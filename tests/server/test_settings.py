"""`AIADMIN_*` variables."""

import math
from pathlib import Path

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_server.durations import FOREVER, parse_duration
from aiadmin_server.settings import FIELDS, Settings, load_settings


def test_the_defaults_are_those_the_reference_names():
    settings = load_settings({})
    home = Path.home() / ".aiadmin"
    assert settings == Settings(models=home / "models", state=home)
    assert settings.url == "http://127.0.0.1:11434"


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


def test_a_client_reaches_a_wildcard_address_by_loopback():
    assert Settings(host="0.0.0.0", port=1).url == "http://127.0.0.1:1"
    assert Settings(host="::", port=1).url == "http://[::1]:1"


def test_names_are_matched_without_regard_to_case():
    assert load_settings({"AiAdmin_MAX_QUEUE": "7"}).max_queue == 7


def test_the_models_follow_the_state_unless_they_are_named():
    assert load_settings({"AIADMIN_STATE": "/a"}).models == Path("/a/models")
    assert load_settings({"AIADMIN_STATE": "/a", "AIADMIN_MODELS": "/b"}).models == Path("/b")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("300", 300),
        ("10m", 600),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        (5, 5),
        (0, 0),
        (-1, FOREVER),
        ("-1", FOREVER),
        ("-5m", FOREVER),
        ("+2s", 2),
    ],
)
def test_durations(value, seconds):
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "soon", "5 minutes", "m", True, math.nan, "1h-2m"])
def test_what_is_no_duration_is_refused(value):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AIADMIN_KEEP_ALIVE", "soon"), ("AIADMIN_MAX_QUEUE", "many"), ("AIADMIN_CONTEXT_LENGTH", "-1")],
)
def test_a_value_that_cannot_be_read_names_its_variable(name, value):
    with pytest.raises(BadRequest, match=name):
        load_settings({name: value})


def test_every_variable_is_read():
    """Each has a value that changes something (plugins are chosen where they are loaded)."""
    values = {
        "AIADMIN_HOST": "1.2.3.4:5",
        "AIADMIN_MODELS": "/m",
        "AIADMIN_STATE": "/s",
        "AIADMIN_KEEP_ALIVE": "1s",
        "AIADMIN_LOAD_TIMEOUT": "1s",
        "AIADMIN_MAX_LOADED_MODELS": "9",
        "AIADMIN_MAX_QUEUE": "9",
        "AIADMIN_CONTEXT_LENGTH": "9",
        "AIADMIN_ROPE_SCALING": "YaRN",
        "AIADMIN_NUM_PARALLEL": "9",
        "AIADMIN_CONTEXTS": "2",
        "AIADMIN_REPLICAS": "2",
        "AIADMIN_KV_CACHE_TYPE": "bf16",
        "AIADMIN_EXACT": "1",
        "AIADMIN_SPECULATION": "off",
        "AIADMIN_PREFIX_MEMORY": "0",
        "AIADMIN_PREFIX_DISK": "0",
        "AIADMIN_IDLE_TIMEOUT": "90s",
        "AIADMIN_IN_PROCESS": "1",
        "AIADMIN_UNKNOWN_FIELDS": "refuse",
        "AIADMIN_ALLOWED_HOSTS": "AI.example.org, proxy",
        "AIADMIN_PRIVATE_SOURCES": "1",
        "AIADMIN_REGISTRY": "registry.example.org",
        "AIADMIN_REGISTRY_CREDENTIALS": "localhost:5000=me:a:b other=x:y",
        "AIADMIN_CATALOGUE": "/c.toml",
        "AIADMIN_ORIGINS": "https://a.example, https://b.example",
        "AIADMIN_API_KEY": "sk-1",
        "AIADMIN_LOG_FORMAT": "JSON",
        "AIADMIN_DEBUG": "1",
        "AIADMIN_NOHISTORY": "1",
        "AIADMIN_MEMORY": "900",
        "AIADMIN_RUNNER_MEMORY": "500",
    }
    plain = load_settings({})
    for name, value in values.items():
        assert load_settings({name: value}) != plain, name
    assert set(FIELDS) - set(values) <= {"AIADMIN_PLUGINS", "AIADMIN_CONFIG"}
    assert load_settings(values).origins == ("https://a.example", "https://b.example")
    assert load_settings(values).allowed_hosts == ("ai.example.org", "proxy")


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
