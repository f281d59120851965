"""What a model's parameters may be."""

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.loading import load_parameters
from aiadmin_server.apis.ollama.options import Options
from aiadmin_server.modelfile.parameters import NAMES, checked, parameter


def test_every_option_of_a_request_may_be_a_models():
    assert set(Options.__struct_fields__) <= set(NAMES)


def test_whatever_opens_a_model_may_be_a_models():
    assert set(load_parameters()) <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("draft_model", "llama3.2:1b", "llama3.2:1b"),
        ("exact", "true", True),
        ("replicas", "2", 2),
        ("tensor_split", "3,1", "3,1"),
        ("temperature", "1", 1.0),
        ("seed", "-1", -1),
        ("top_k", "-1", 0),
        ("num_predict", "-2", -2),
        ("num_gpu", "-1", -1),
        ("penalize_newline", "true", True),
        ("stop", "<|im_end|>", ["<|im_end|>"]),
    ],
)
def test_texts_become_values(name, text, value):
    assert parameter(name, text) == value


def test_json_is_taken_as_it_is():
    given = {"temperature": 0, "stop": "x", "num_ctx": 2048, "seed": None, "top_p": "0.5"}

    assert checked(given) == {"temperature": 0.0, "stop": ["x"], "num_ctx": 2048, "top_p": 0.5}


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": []},
        {"stop": 3},
        {"stop": [""]},
        {"num_ctx": True},
        {"top_k": 10**30},
        {"seed": "x"},
        {"": 1},
        {"replicas": 0},
        {"draft_model": ""},
        {"tensor_split": "half"},
        {"exact": "perhaps"},
    ],
)
def test_json_that_makes_no_sense_is_refused_by_name(given):
    (name,) = given
    with pytest.raises(BadRequest) as caught:
        checked(given)
    assert caught.value.param == f"parameters.{name}"
