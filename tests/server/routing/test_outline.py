"""What files tell of a model before it is loaded."""

from types import SimpleNamespace

import pytest

from aiadmin_core.backend import ModelInfo
from aiadmin_server.routing.outline import RANK, Outline, Outlines, outline_of
from aiadmin_server.serving.abilities import foretold


def model(**fields):
    return SimpleNamespace(**({"name": "m:latest", "digest": "sha256:1", "template": None, "files": ()} | fields))


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


def test_each_model_is_read_once():
    read = []
    backend = SimpleNamespace(inspect=lambda path: read.append(path) or header())
    outlines = Outlines()
    one = model(files=(SimpleNamespace(path="/a", role="model"),))

    assert outlines.of(one, {"b": backend}) == outlines.of(one, {"b": backend}) == Outline()
    assert len(read) == 1
