"""What files tell of a model before it is loaded."""

from types import SimpleNamespace

import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_server.routing.outline import RANK, Outline, Outlines, outline_of
from aiadmin_server.serving.abilities import foretold


def model(**fields):
    known = {"name": "m:latest", "digest": "sha256:1", "format": "gguf", "template": None, "files": ()}
    return SimpleNamespace(**(known | fields))


def header(architecture="llama", template=None, **metadata):
    return ModelInfo(format="gguf", architecture=architecture, chat_template=template, metadata=metadata)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (header(), ["completion"]),
        (header(template="{{ messages }}"), ["completion", "chat", "tools"]),
        (header(**{"tokenizer.ggml.fim_pre_token_id": 7}), ["completion", "insert"]),
        (header("bert", **{"bert.pooling_type": 1}), ["embedding"]),
        (header("nomic-bert"), ["embedding"]),
        (header("bert", **{"bert.pooling_type": RANK}), ["rerank"]),
        (header("qwen3", "{{ messages }}", **{"qwen3.pooling_type": 3}), ["completion", "chat", "tools"]),
    ],
)
def test_what_it_can_is_read_off_its_header(found, words):
    assert foretold(outline_of(model(), found)) == words


def test_a_template_of_the_store_goes_before_the_files_own():
    assert outline_of(model(template="mine"), header(template="theirs")) == Outline(template="mine")


@pytest.mark.parametrize("found", [None, ModelInfo(format="remote")])
def test_where_the_files_tell_nothing_nothing_is_told(found):
    assert outline_of(model(), found) is None


def test_what_every_engine_of_a_backend_can_is_foretold_of_models_that_generate():
    able = Capabilities(constraints=frozenset({"json_object", "json_schema"}), max_logprobs=20, protocols={"embed"})
    more = ["embedding", "json_object", "json_schema", "logprobs"]
    assert foretold(outline_of(model(), header(), able)) == ["completion", *more]
    assert foretold(outline_of(model(), header("bert"), able)) == ["embedding"]


def test_a_folder_whose_files_lie_under_their_digests_is_read_too(tmp_path):
    """And which backend could read it is asked what it foretells."""
    blob = tmp_path / "sha256-1"
    blob.write_text("{}")
    one = model(format="safetensors", files=[SimpleNamespace(path=str(blob), name="config.json", role="model")])
    blind = SimpleNamespace(inspect=lambda path: None)
    seeing = SimpleNamespace(
        inspect=lambda path: header("qwen3", "x") if (path / "config.json").read_text() == "{}" else None,
        foretell=lambda: Capabilities(max_logprobs=1),
    )

    found = Outlines().of(one, {"blind": blind, "seeing": seeing})

    assert (found.template, found.able.max_logprobs) == ("x", 1)


def test_each_model_is_read_once():
    read = []
    backend = SimpleNamespace(inspect=lambda path: read.append(path) or header())
    outlines = Outlines()
    one = model(files=(SimpleNamespace(path="/a", role="model"),))

    assert outlines.of(one, {"b": backend}) == outlines.of(one, {"b": backend}) == Outline()
    assert len(read) == 1
