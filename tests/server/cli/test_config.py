"""`aiadmin config`, and a server that inherits settings."""

import json


def test_a_setting_is_set_shown_and_unset(aiadmin_process, echo, tmp_path):
    echo["AIADMIN_CONFIG"] = str(tmp_path / "c.toml")
    assert aiadmin_process("config", "path").stdout == f"{tmp_path / 'c.toml'}\n"
    done = aiadmin_process("config", "set", "keep-alive", "30m")
    assert (done.returncode, done.stdout) == (0, "")
    assert aiadmin_process("config", "get", "AIADMIN_KEEP_ALIVE").stdout == "30m\n"
    shown = {one["setting"]: one for one in json.loads(aiadmin_process("config", "show", "--json").stdout)}
    assert shown["keep_alive"] == {"setting": "keep_alive", "value": "30m", "from": str(tmp_path / "c.toml")}
    assert shown["plugins"]["from"] == "AIADMIN_PLUGINS"
    assert "keep_alive" in aiadmin_process("config").stdout
    assert "no longer set" in aiadmin_process("config", "unset", "keep_alive").stderr
    assert aiadmin_process("config", "get", "keep_alive").stdout == "300s\n"


def test_what_cannot_be_set_is_refused_and_what_has_no_effect_is_said(aiadmin_process, echo, tmp_path):
    echo["AIADMIN_CONFIG"] = str(tmp_path / "c.toml")
    refused = aiadmin_process("config", "set", "max_queue", "lots").stderr
    assert "'max_queue' must be a whole number" in refused
    assert "Nothing was changed." in refused
    assert "Did you mean 'max_queue'?" in aiadmin_process("config", "set", "max_queu", "1").stderr
    assert not (tmp_path / "c.toml").exists()
    echo["AIADMIN_MAX_QUEUE"] = "5"
    assert (
        "It has no effect while AIADMIN_MAX_QUEUE is set." in aiadmin_process("config", "set", "max_queue", "4").stderr
    )


def test_a_broken_file_is_a_sentence_and_its_place_can_be_asked_for(aiadmin_process, echo, tmp_path):
    (tmp_path / "c.toml").write_text("[")
    echo["AIADMIN_CONFIG"] = str(tmp_path / "c.toml")
    done = aiadmin_process("list")
    assert (done.returncode, done.stderr.splitlines()[0][:26]) == (1, "Error: The settings file '")
    assert aiadmin_process("config", "path").returncode == 0


def test_plugins_may_be_chosen_in_the_file(aiadmin_process, echo, tmp_path):
    (tmp_path / "c.toml").write_text('plugins = "-clecho"')
    echo["AIADMIN_CONFIG"] = str(tmp_path / "c.toml")
    del echo["AIADMIN_PLUGINS"]
    assert "clecho" not in aiadmin_process("plugins").stdout


def test_an_inherited_wildcard_address_opens_nothing(serving, echo):
    echo.pop("AIADMIN_HOST", None)
    server = serving(OLLAMA_HOST="0.0.0.0:11434", OLLAMA_KV_CACHE_TYPE="q4_0")
    assert server.url.startswith("http://127.0.0.1:")
    server.terminate()
    said = server.communicate(timeout=20)[1]
    assert "OLLAMA_HOST names 0.0.0.0" in said
    assert "listens on 127.0.0.1 only" in said
    assert "OLLAMA_KV_CACHE_TYPE is left out" in said
