"""Where settings come from."""

import re
from pathlib import Path

import pytest

from aiadmin_core.errors import BadRequest, StoreError
from aiadmin_server import settings_file
from aiadmin_server.cli.config import records
from aiadmin_server.cli.serve import inherits_openness
from aiadmin_server.configuration import COUNTERPARTS, load_configuration, read_file, variable_of
from aiadmin_server.settings import FIELDS, load_settings, read_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "place" / "config.toml"


def settings(file: Path, text: str = "", **environ: str):
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return load_settings({"AIADMIN_CONFIG": str(file), **environ})


def test_a_variable_goes_before_ollamas_and_that_before_the_file(file: Path):
    text = 'keep_alive = "1m"'
    assert settings(file, text).keep_alive_s == 60
    assert settings(file, text, OLLAMA_KEEP_ALIVE="2m").keep_alive_s == 120
    assert settings(file, text, OLLAMA_KEEP_ALIVE="2m", AIADMIN_KEEP_ALIVE="3m").keep_alive_s == 180
    assert settings(file, text, OLLAMA_KEEP_ALIVE="2m", AIADMIN_KEEP_ALIVE=" ").keep_alive_s == 120, "empty is unset"


def test_values_of_the_file_have_the_types_of_toml(file: Path):
    text = """
    # a comment
    max_queue = 7
    exact = true
    debug = false
    origins = ["https://a.example", "https://b.example"]
    host = "10.0.0.1:99"
    plugins = "-mlx"
    """
    found = settings(file, text)
    assert (found.max_queue, found.exact, found.debug, found.port) == (7, True, False, 99)
    assert found.origins == ("https://a.example", "https://b.example")


def test_every_setting_may_stand_in_the_file(file: Path):
    assert {variable_of(name.removeprefix("AIADMIN_").lower()) for name in FIELDS if name != "AIADMIN_CONFIG"} == {
        name for name in FIELDS if name != "AIADMIN_CONFIG"
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keep_alife = 1", "no setting 'keep_alife' in .*Did you mean 'keep_alive'"),
        ("keep_alive =", "cannot be read"),
        ("keep_alive = { a = 1 }", "neither a text"),
        ("max_queue = 'lots'", "^'max_queue' in '.*config.toml' must be a whole number .*Correct it there"),
        ("memory = -5", "'memory' in .* must be a whole number of 0 or more, not '-5'"),
        ("keep_alive = 'soon'", "^'keep_alive' in '.*config.toml': 'soon' is no duration"),
        ("host = 'ftp://here'", "^'host' in '.*config.toml' is no address .*Write `host`"),
        ("registry = 'a b'", "^'registry' in '.*config.toml' is no address of a registry"),
        ("config = 'x'", "no setting 'config'"),
    ],
)
def test_a_line_that_cannot_be_is_a_sentence(file: Path, text: str, says: str):
    with pytest.raises(BadRequest) as caught:
        settings(file, text)
    assert re.search(says, str(caught.value))


def test_a_variable_that_cannot_be_read_is_named_though_the_file_has_a_line_for_it(file: Path):
    with pytest.raises(BadRequest, match=r"^AIADMIN_MAX_QUEUE must be .*Unset it"):
        settings(file, "max_queue = 7", AIADMIN_MAX_QUEUE="lots")


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path):
    assert read_file(tmp_path / "none.toml") == {}
    assert load_settings({}) == load_settings({"AIADMIN_CONFIG": str(tmp_path / "none.toml")})


def test_what_was_meant_for_ollama_is_used_and_said(tmp_path: Path):
    environ = {"OLLAMA_MODELS": str(tmp_path), "OLLAMA_LOAD_TIMEOUT": "0", "OLLAMA_FLASH_ATTENTION": "1"}
    found = load_configuration(environ)
    assert found.notes == (
        f"OLLAMA_MODELS is used as AIADMIN_MODELS: {tmp_path}.",
        "OLLAMA_LOAD_TIMEOUT is used as AIADMIN_LOAD_TIMEOUT: -1.",
    )
    assert read_settings(found.texts()).models == tmp_path
    assert found.where("AIADMIN_MODELS") == "OLLAMA_MODELS"


@pytest.mark.parametrize(("name", "text"), [("KV_CACHE_TYPE", "q4_0"), ("MAX_QUEUE", "lots"), ("HOST", "ftp://x")])
def test_what_was_meant_for_ollama_and_cannot_be_stops_nothing(name: str, text: str):
    found = load_configuration({f"OLLAMA_{name}": text})
    assert found.given == {}
    (note,) = found.notes
    assert note.startswith(f"OLLAMA_{name} is left out: ")


def test_each_of_ollamas_variables_has_its_counterpart():
    assert set(COUNTERPARTS.values()) <= set(FIELDS)


def test_an_inherited_address_opens_nothing_unless_a_plugin_guards_it():
    def opens(guarded: bool = False, **environ: str) -> bool:
        found = load_configuration(environ)
        return inherits_openness(found, read_settings(found.texts()), guarded=guarded)

    assert opens(OLLAMA_HOST="0.0.0.0")
    assert opens(OLLAMA_HOST="192.168.1.7:11434")
    assert not opens(OLLAMA_HOST="0.0.0.0", guarded=True)
    assert not opens(OLLAMA_HOST="127.0.0.1:11500")
    assert not opens(OLLAMA_HOST="0.0.0.0", AIADMIN_HOST="0.0.0.0")
    assert not opens()


def test_changing_the_file_leaves_the_rest_as_it_is(file: Path):
    file.parent.mkdir()
    file.write_text('# mine\nmax_queue = 7 # few\n\nhost = "::1"\n')
    settings_file.put(file, "keep_alive", "10m")
    settings_file.put(file, "max_queue", "8")
    assert file.read_text() == '# mine\nmax_queue = 8 # few\n\nhost = "::1"\nkeep_alive = "10m"\n'
    assert settings_file.remove(file, "host")
    assert not settings_file.remove(file, "host")
    assert file.read_text() == '# mine\nmax_queue = 8 # few\n\nkeep_alive = "10m"\n'


def test_a_new_file_is_its_owners_alone(file: Path):
    settings_file.put(file, "api_key", "sk-1")
    settings_file.put(file, "max_queue", "3")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_a_file_that_is_no_toml_is_not_overwritten(file: Path):
    file.parent.mkdir()
    file.write_text("[")
    with pytest.raises(BadRequest, match="cannot be read"):
        settings_file.put(file, "max_queue", "8")
    assert file.read_text() == "["


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path):
    (tmp_path / "taken").touch()
    with pytest.raises(StoreError):
        settings_file.put(tmp_path / "taken" / "config.toml", "max_queue", "8")


def test_every_setting_is_shown_and_no_key():
    environ = {"AIADMIN_API_KEY": "sk-secret", "AIADMIN_REGISTRY_CREDENTIALS": "h=me:secret", "AIADMIN_MAX_QUEUE": "9"}
    found = load_configuration(environ)
    shown = {one["setting"]: (one["value"], one["from"]) for one in records(found, read_settings(found.texts()))}
    assert len(shown) == len(FIELDS) - 1
    assert shown["api_key"] == ("(set)", "AIADMIN_API_KEY")
    assert "secret" not in str(shown)
    assert shown["max_queue"] == ("9", "AIADMIN_MAX_QUEUE")
    assert shown["keep_alive"] == ("300s", "default")
    assert shown["host"] == ("127.0.0.1:11434", "default")
