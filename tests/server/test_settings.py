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
