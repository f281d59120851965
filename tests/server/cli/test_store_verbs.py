"""`list`, `show`, `cp`, `rm` and `alias` on a real store."""

import json
from types import SimpleNamespace

import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.cli.list import short_id
from aiadmin_server.cli.show import described, remote_facts
from aiadmin_server.routing.resolver import Explanation


def test_list_in_a_pipe_is_one_plain_line_a_model(invoke, add):
    model = add("smollm2")

    lines = invoke("list").stdout.splitlines()

    assert lines[0].split() == ["NAME", "ID", "SIZE", "FORMAT", "MODIFIED"]
    assert lines[1].split()[:2] == ["smollm2:latest", short_id(model.digest)]
    assert len(short_id(model.digest)) == 12
    assert lines[1].endswith("just now")


def test_list_as_json_has_models_and_aliases(invoke, add):
    add("smollm2")
    invoke("alias", "set", "gpt-4o", "smollm2", "--num-ctx", "512")

    model, alias = json.loads(invoke("list", "--json").stdout)

    assert model["name"] == "smollm2:latest"
    assert model["origin"] == "file:weights.gguf"
    assert alias == {"name": "gpt-4o", "alias": {"target": "smollm2", "parameters": {"num_ctx": 512}}}


def test_an_empty_store_says_what_to_do_and_prints_no_data(invoke):
    result = invoke("list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "aiadmin pull smollm2" in result.stderr
    assert json.loads(invoke("list", "--json").stdout) == []


def test_a_copy_is_a_second_model_with_the_same_id(invoke, add, store):
    add("smollm2")

    result = invoke("cp", "smollm2", "gpt-3.5-turbo")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert {model.name for model in store.models()} == {"smollm2:latest", "gpt-3.5-turbo:latest"}
    assert len({model.digest for model in store.models()}) == 1


def test_copying_what_is_not_there_fails_with_a_hint(invoke):
    result = invoke("cp", "smollm2", "gpt-3.5-turbo")

    assert result.exit_code == 1
    assert "'smollm2' was not found" in result.stderr
    assert "aiadmin pull smollm2" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bad_name_is_explained(invoke, add):
    add("smollm2")

    result = invoke("cp", "smollm2", "a/b/c/d/e")

    assert result.exit_code == 1
    assert "no model name" in result.stderr


def test_rm_takes_several_names(invoke, add, store):
    add("one")
    add("two")

    assert invoke("rm", "one", "TWO").exit_code == 0
    assert store.models() == []


def test_show_says_how_the_name_resolved_and_what_the_model_is(invoke, add):
    model = add("smollm2")
    invoke("alias", "set", "gpt-4o", "smollm2")

    shown = invoke("show", "gpt-4o").stdout

    assert "'gpt-4o' is an alias of 'smollm2'" in shown
    assert model.digest in shown
    assert "file:weights.gguf" in shown
    assert "gguf" in shown
    assert "many lines" not in shown, "a licence is shown by its first lines"


def test_show_as_json_has_everything(invoke, add):
    add("smollm2")

    shown = json.loads(invoke("show", "smollm2", "--json").stdout)

    assert shown["resolution"]["resolved"] == shown["model"]["name"] == "smollm2:latest"
    assert shown["loaded"] is None


def test_showing_a_model_of_the_catalogue_says_how_to_get_it(invoke):
    result = invoke("show", "smollm2")

    assert result.exit_code == 1
    assert "aiadmin pull smollm2" in result.stderr


def test_aliases_are_set_listed_and_removed(invoke, add):
    add("smollm2")
    assert invoke("alias", "set", "gpt-4o", "smollm2", "--keep-alive", "30m", "--backend", "mlx").exit_code == 0
    assert invoke("alias").stdout == invoke("alias", "list").stdout
    assert invoke("alias", "list").stdout.splitlines()[1].split(maxsplit=2) == [
        "gpt-4o",
        "smollm2",
        "backend mlx, keep-alive 30m",
    ]
    assert invoke("alias", "rm", "gpt-4o").exit_code == 0
    assert json.loads(invoke("alias", "list", "--json").stdout) == []


def test_an_alias_with_a_bad_duration_or_to_itself_is_refused(invoke):
    assert "no duration" in invoke("alias", "set", "a", "b", "--keep-alive", "soon").stderr
    assert "leads back to itself" in invoke("alias", "set", "a", "a").stderr


def test_a_store_that_cannot_be_written_is_a_sentence(invoke, store, tmp_path):
    """The folder's place is taken by a file."""
    store.root.parent.mkdir(parents=True)
    store.root.write_text("not a folder")

    result = invoke("rm", "smollm2")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr


def test_a_name_that_a_model_has_is_no_alias(invoke, add):
    """The model goes before the alias, which would have no effect."""
    add("smollm2")
    result = invoke("alias", "set", "SmolLM2", "other")
    assert result.exit_code == 1
    assert "There is a model 'smollm2:latest'" in result.stderr
    assert invoke("alias", "list").stdout == ""


def test_show_says_where_a_remote_model_is_served(store, tmp_path):
    """The backend that can read the description says it; one that fails is passed over."""
    path = tmp_path / "upstream.json"
    path.write_text("{}")
    file = FetchedFile(path=path, role="config")
    model = store.add("far", FetchedModel(files=(file,), format="remote", origin="x:y"))
    metadata = {"upstreams": ["http://a/v1", "http://b/v1"], "key_variable": "KEY"}
    broken = SimpleNamespace(inspect=lambda path: 1 / 0)
    knows = SimpleNamespace(inspect=lambda path: ModelInfo(format="remote", metadata=metadata))

    remote = remote_facts(model, {"broken": broken, "knows": knows})
    explanation = Explanation(requested="far", resolved="far:latest", steps=())
    shown = dict(described(explanation, model, remote, None, None))

    assert shown["upstreams"] == "http://a/v1\nhttp://b/v1"
    assert shown["key variable"] == "KEY"
    assert "files" not in shown["template"]


def test_a_model_that_a_backend_offers_has_no_files_to_copy_or_remove(echo, aiadmin_process):
    for arguments in (["cp", "echo", "other"], ["rm", "echo"]):
        done = aiadmin_process(*arguments)

        assert done.returncode == 1
        assert "'echo' is offered by the backend echo and has no files here." in done.stderr
        assert "aiadmin alias set" in done.stderr
        assert "aiadmin pull" not in done.stderr


def test_an_alias_of_what_is_not_there_is_refused_unless_told_otherwise(invoke, add):
    add("smollm2")

    result = invoke("alias", "set", "a", "smolm2")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no model 'smolm2' that the alias could stand for.\nDid you mean 'smollm2'?" in result.stderr
    assert invoke("alias", "set", "a", "smolm2", "--missing-ok").exit_code == 0
    assert invoke("alias", "set", "b", "smollm2").stderr == "b now stands for smollm2.\n"


def test_removing_an_alias_that_is_none_says_so(invoke):
    result = invoke("alias", "rm", "zzz")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: There is no alias 'zzz'.")


def test_cp_loses_nothing_unasked(invoke, add, store):
    """A model's last name is kept; one of several names is simply moved, as people re-point gpt-3.5-turbo."""
    add("one")
    add("two")

    refused = invoke("cp", "one", "TWO")
    assert refused.exit_code == 1
    assert "'two:latest' is the only name of another model" in refused.stderr
    assert "--replace" in refused.stderr
    assert store.find("two").digest != store.find("one").digest

    assert invoke("cp", "one", "gpt-3.5-turbo").exit_code == 0
    assert invoke("cp", "two", "gpt-3.5-turbo").exit_code == 0
    assert store.find("gpt-3.5-turbo").digest == store.find("two").digest
    assert invoke("cp", "one", "two").exit_code == 0, "its model is gpt-3.5-turbo as well"
    assert invoke("cp", "one", "gpt-3.5-turbo").exit_code == 1
    assert invoke("cp", "one", "gpt-3.5-turbo", "--replace").exit_code == 0
    assert {model.digest for model in store.models()} == {store.find("one").digest}


def test_a_name_with_defaults_of_its_own_is_not_lost_either(invoke, add):
    add("one")
    add("two")
    invoke("cp", "one", "kept")
    invoke("set", "kept", "--system", "Long and thought through.")

    assert invoke("cp", "two", "kept").exit_code == 1
    assert invoke("cp", "two", "kept", "--replace").exit_code == 0


def test_a_model_does_not_hide_an_alias_unasked(invoke, add, store, tmp_path):
    add("one")
    invoke("alias", "set", "gpt-4o", "one")
    (tmp_path / "x.gguf").write_bytes(b"GGUF2")

    for arguments in (["cp", "one", "GPT-4o"], ["pull", str(tmp_path / "x.gguf"), "--as", "gpt-4o"]):
        refused = invoke(*arguments)
        assert refused.exit_code == 1
        assert "is an alias of 'one'" in refused.stderr
        assert store.find("gpt-4o") is None
    assert invoke("cp", "one", "gpt-4o", "--replace").exit_code == 0
    assert invoke("alias").stdout == "", "the name has one meaning"


def test_an_alias_asks_for_no_backend_that_nobody_knows(invoke):
    refused = invoke("alias", "set", "a", "b", "--backend", "lamacpp")
    assert refused.exit_code == 1
    assert "There is no backend 'lamacpp'" in refused.stderr
    assert "'llamacpp'" in refused.stderr
    assert "There are: llamacpp, mlx, openai" in invoke("alias", "set", "a", "b", "--backend", "zzz").stderr
    assert invoke("alias").stdout == ""


def test_hints_name_options_that_exist(invoke, add, tmp_path):
    add("one")
    (tmp_path / "x.gguf").write_bytes(b"GGUF2")
    refused = invoke("pull", str(tmp_path / "x.gguf"), "--as", "one")
    assert "--as" in refused.stderr
    assert "--name" not in refused.stderr


def test_a_model_whose_backend_is_not_installed_is_not_listed_as_if_it_were(invoke, add, echo, aiadmin_process):
    add("smollm2")  # the test's commands have no backend

    assert "gguf, no backend" in invoke("list").stdout
    assert json.loads(invoke("list", "--json").stdout)[0]["served"] is False
    assert "pip install aiadmin-backend-llamacpp" in invoke("show", "smollm2").stderr
    listed = aiadmin_process("list").stdout  # here one says that it serves anything
    assert "no backend" not in listed


@pytest.mark.parametrize("text", ["{", '{"a": 5}', '{"a": {"target": "m", "keep_alive": "soon"}}'])
def test_a_damaged_alias_file_is_not_called_empty(invoke, add, store, text):
    add("m")
    store.aliases_path.parent.mkdir(parents=True, exist_ok=True)
    store.aliases_path.write_text(text)
    for command in (("alias", "list"), ("list",)):
        done = invoke(*command)
        assert done.exit_code == 0
        assert str(store.aliases_path) in done.stderr
        assert "There are no aliases" not in done.stderr
    assert store.aliases_path.read_text() == text


def test_a_name_that_nothing_can_be_pulled_by_is_not_suggested_for_a_pull(invoke, add):
    add("smollm2")
    for arguments in (["cp", "nothing", "x"], ["rm", "nothing"], ["set", "nothing", "--seed", "1"]):
        said = invoke(*arguments).stderr
        assert "'nothing' was not found" in said
        assert "aiadmin list" in said
        assert "aiadmin pull nothing" not in said
    assert "Did you mean 'smollm2'" in invoke("cp", "smollm", "x").stderr


def test_parts_of_a_model_are_shown_whole(invoke, add):
    add("smollm2", system="Be\nbrief.", license="MIT", parameters={"temperature": 0.5, "stop": ["a", "b"]})

    assert invoke("show", "smollm2", "--system").stdout == "Be\nbrief.\n"
    assert invoke("show", "smollm2", "--license").stdout == "MIT\n"
    assert invoke("show", "smollm2", "--template").stdout == ""
    assert [line.split() for line in invoke("show", "smollm2", "--parameters").stdout.splitlines()][:2] == [
        ["temperature", "0.5"],
        ["stop", '"a"'],
    ]
    modelfile = invoke("show", "smollm2", "--modelfile").stdout
    assert modelfile.startswith('FROM smollm2:latest\nSYSTEM """Be\nbrief."""\n')


def test_a_shown_modelfile_makes_the_same_model_again(invoke, add, store, tmp_path):
    first = add("smollm2", system="Be brief.", license="MIT", parameters={"temperature": 0.5})
    path = tmp_path / "Modelfile"
    path.write_text(invoke("show", "smollm2", "--modelfile").stdout)

    result = invoke("create", "again", "-f", str(path))

    assert (result.exit_code, result.stdout) == (0, "")
    assert "Made again:latest" in result.stderr
    assert store.find("again").digest == first.digest


def test_a_modelfile_that_is_missing_or_wrong_is_named(invoke, add, tmp_path):
    add("smollm2")
    path = tmp_path / "Modelfile"
    path.write_text("FROM smollm2\nPARAMETER temprature 1")

    missing = invoke("create", "new", "-f", str(tmp_path / "none"))
    wrong = invoke("create", "new", "-f", str(path))

    assert (missing.exit_code, wrong.exit_code) == (2, 1)
    assert "cannot be read" in missing.stderr
    assert "Line 2: There is no parameter 'temprature'.\nDid you mean 'temperature'?" in wrong.stderr
