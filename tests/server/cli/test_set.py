"""`aiadmin set`: defaults of a model, who goes before whom, and what `show` says of it."""

import json

import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_server.routing.defaults import NOT_DEFAULTS
from aiadmin_server.routing.resolver import Resolver
from aiadmin_server.settings import Settings
from aiadmin_server.store.aliases import Aliases
from aiadmin_server.store.defaults import FALLBACK, sampling_defaults


@pytest.fixture
def target(store):
    """What a request to a name is served with."""

    def resolve(name):
        plugins = load_plugins(builtin=[], only=[])
        return Resolver(store, Aliases(store.aliases_path), plugins, Settings(models=store.root)).resolve(name)

    return resolve


def test_there_is_an_option_for_every_field_of_sampling(invoke):
    text = invoke("set", "--help").stdout
    for field in set(SamplingParams.__struct_fields__) - NOT_DEFAULTS:
        assert f"--{field.replace('_', '-')} " in text
    assert "0 takes the most likely token." in text, "described as the field is"


def test_what_is_set_counts_until_it_is_unset(invoke, add, store, target):
    add("m")
    done = invoke(
        "set", "M", "--temperature", "0.3", "--top-k", "7", "--stop", "a", "--stop", "b", "--system", "Be brief.",
        "--num-ctx", "512", "--keep-alive", "10m", "--ignore-eos", "false",
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert "temperature 0.3" in done.stderr
    found = target("m")
    assert found.spec.parameters == FALLBACK | {
        "temperature": 0.3, "top_k": 7, "stop": ["a", "b"], "num_ctx": 512, "ignore_eos": False,
    }  # fmt: skip
    assert (found.spec.system, found.options.n_ctx, found.keep_alive_s) == ("Be brief.", 512, 600)

    invoke("set", "m", "--unset", "system", "--unset", "--top-k", "--temperature", "0")
    found = target("m")
    assert found.spec.system is None
    assert (found.spec.parameters["temperature"], found.spec.parameters["top_k"]) == (0, FALLBACK["top_k"])
    invoke("set", "m", "--unset", "all")
    assert target("m").spec.parameters == FALLBACK
    assert not list((store.root / "aiadmin").rglob("defaults/**/*.json"))


def test_how_far_a_context_may_go_is_an_aliass_word_before_the_models(invoke, add, target):
    add("m")
    assert target("m").options.rope_scaling is None
    invoke("set", "m", "--num-ctx", "16384", "--rope-scaling", "yarn")
    assert target("m").options.rope_scaling == "yarn"
    invoke("alias", "set", "short", "m", "--rope-scaling", "none")
    assert target("short").options.rope_scaling == "none"
    assert "rope_scaling" in invoke("show", "short").stdout
    assert invoke("set", "m", "--rope-scaling", "magic").exit_code == 2
    invoke("set", "m", "--unset", "rope-scaling")
    assert target("m").options.rope_scaling is None


def test_what_is_set_belongs_to_the_name(invoke, add, store, target):
    """It stays when the model is pulled anew, goes along with a copy, and ends with the name."""
    add("m")
    invoke("set", "m", "--temperature", "0.3")
    add("m")
    invoke("cp", "m", "n")
    invoke("set", "m", "--temperature", "0.4")
    assert [target(name).spec.parameters["temperature"] for name in ("m", "n")] == [0.4, 0.3]
    invoke("rm", "m")
    add("m")
    assert target("m").spec.parameters == FALLBACK


@pytest.mark.parametrize(
    ("option", "value"),
    [("--temperature", "9"), ("--temperature", "hot"), ("--top-p", "-1"), ("--top-k", "1.5"), ("--seed", "x"),
     ("--max-tokens", "0"), ("--keep-alive", "soon"), ("--temperature", "nan")],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_and_nothing_is_stored(invoke, add, store, option, value):
    add("m")
    refused = invoke("set", "m", "--system", "x", option, value)
    assert refused.exit_code == 1
    assert option in refused.stderr
    assert store.find("m").own.system is None


def test_only_models_with_files_here_have_defaults(invoke, add):
    add("m")
    invoke("alias", "set", "a", "m")
    assert "'zzz' was not found" in invoke("set", "zzz", "--seed", "1").stderr
    assert "an alias of 'm'" in invoke("set", "a", "--seed", "1").stderr
    assert invoke("set", "m", "--unset", "colour").exit_code == 2


def test_show_says_where_each_default_comes_from(invoke, store, tmp_path):
    (tmp_path / "x").write_bytes(b"GGUF")
    file = FetchedFile(path=tmp_path / "x")
    parameters = {"temperature": 0.2, "top_p": 0.5}
    info = ModelInfo(format="gguf", parameters={"temperature": 0.6, "min_p": 0.1})
    store.add("m", FetchedModel(files=(file,), format="gguf", parameters=parameters, system="Old."), info=info)
    invoke("set", "m", "--top-p", "0.8", "--top-k", "9", "--system", "New.")
    invoke("alias", "set", "a", "m", "--top-k", "3", "--keep-alive", "1m", "--num-ctx", "64")

    shown = invoke("show", "a").stdout

    for line in (
        "temperature 0.2 (came with the model)",
        "min_p 0.1 (in its file)",
        "top_p 0.8 (`aiadmin set`)",
        "top_k 3 (the alias a)",
        "keep_alive 1m (the alias a)",
        "num_ctx 64 (the alias a)",
    ):
        assert line in shown
    assert "New." in shown
    assert "Old." not in shown
    assert json.loads(invoke("show", "m", "--json").stdout)["resolution"]["defaults"]["top_k"] == [9, "`aiadmin set`"]


def test_a_checkpoint_of_which_nobody_says_how_to_sample_does_not_talk_gibberish(invoke, add):
    add("m")
    shown = invoke("show", "m").stdout
    assert f"temperature {FALLBACK['temperature']} (AiAdmin's, for models without any)" in shown


@pytest.mark.parametrize(
    ("file", "model", "model_format", "falls_back"),
    [
        ({}, {}, "gguf", True),
        ({}, {"stop": ["x"], "num_ctx": 1}, "safetensors", True),
        ({"temperature": 1.0}, {}, "gguf", False),
        ({}, {"top_p": 0.9}, "gguf", False),
        ({}, {}, "remote", False),
        ({}, {}, "markov", False),
    ],
)
def test_ours_are_for_raw_checkpoints_without_any(file, model, model_format, falls_back):
    found = sampling_defaults(file=file, model=model, own={"temperature": 0.1}, model_format=model_format)
    assert ("min_p" in found) == falls_back
    assert found["temperature"].value == 0.1


def test_stored_defaults_that_cannot_be_read_are_named_and_kept(invoke, add, store):
    add("m")
    invoke("set", "m", "--seed", "1")
    path = next((store.root / "aiadmin" / "defaults").rglob("latest.json"))
    path.write_text("{")

    assert invoke("list").exit_code == 0
    assert "defaults" in store.problems()[0].message
    assert "cannot be read" in invoke("set", "m", "--seed", "2").stderr
    assert path.read_text() == "{"


def test_a_context_beyond_the_trained_one_is_said_where_it_is_set_and_shown(invoke, store, tmp_path):
    file = FetchedFile(path=tmp_path / "m.gguf")
    file.path.write_bytes(b"GGUF")
    store.add("m", FetchedModel(files=(file,), format="gguf"), info=ModelInfo(format="gguf", n_ctx_train=2048))
    said = invoke("set", "m", "--num-ctx", "4096").stderr
    assert "It was trained with 2048 tokens, and its context ends there: `--rope-scaling yarn`" in said
    assert "2048 tokens, trained; 4096 are asked for: it ends there" in invoke("show", "m").stdout
    assert "trained with" not in invoke("set", "m", "--rope-scaling", "yarn").stderr
    assert "positions are scaled (yarn)" in invoke("show", "m").stdout
    assert "trained with" not in invoke("set", "m", "--num-ctx", "2048", "--unset", "rope_scaling").stderr


def test_a_value_that_cannot_be_and_what_was_set_are_told_in_plain_words(invoke, add):
    add("m")

    refused = invoke("set", "m", "--temperature", "9").stderr
    assert "--temperature cannot be '9': it is a number of at most 2." in refused
    assert "system 'Be brief.'." in invoke("set", "m", "--system", "Be brief.").stderr
