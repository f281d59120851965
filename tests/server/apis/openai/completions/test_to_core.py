"""OpenAI's text completions to core's requests."""

import json

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.request import TextInput
from aiadmin_server.apis.openai.completions.to_core import completion_call
from aiadmin_server.apis.openai.completions.wire import CompletionRequest
from aiadmin_server.http.reading import decode


def complete(**fields):
    return completion_call(decode(json.dumps({"model": "m", "prompt": "hi"} | fields).encode(), CompletionRequest))


def refused(make, **fields) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        make(**fields)
    return caught.value


def test_a_prompt_each_is_a_request_each():
    call = complete(prompt=["a", "b"], n=3, suffix="end")
    assert [(one.input.text, one.input.suffix, one.n) for one in call.requests] == [("a", "end", 3), ("b", "end", 3)]


def test_an_answer_is_short_where_the_client_names_no_length():
    assert complete().requests[0].sampling.max_tokens == 16
    assert complete().given == {"max_tokens"}


def test_a_user_is_kept_as_it_came():
    assert [(field.name, field.value, field.why) for field in complete(user="me").unplaced] == [("user", "me", "")]


def test_a_request_has_not_more_prompts_than_a_server_can_take():
    assert len(complete(prompt=["a"] * 2048).requests) == 2048
    assert refused(complete, prompt=["a"] * 2049).param == "prompt"
    assert refused(complete, prompt=[[1]] * 2049).param == "prompt"
    assert len(complete(prompt=[1] * 5000).requests) == 1


@pytest.mark.parametrize("prompt", [None, ""])
def test_without_a_prompt_a_new_document_begins(prompt):
    """OpenAI's default, <|endoftext|>, by the name that the model has for it."""
    assert [one.input for one in complete(prompt=prompt).requests] == [TextInput(text="")]


def test_a_best_of_that_leaves_nothing_out_may_be_streamed():
    assert complete(best_of=2, n=2, stream=True).requests[0].n == 2
    assert refused(complete, best_of=3, n=2, stream=True).param == "best_of"
    assert refused(complete, best_of=21).param == "best_of"


def test_a_prompt_with_a_gap_is_not_scored():
    assert refused(complete, suffix="b", echo=True, logprobs=1).param == "suffix"
    assert complete(suffix="b", echo=True).requests[0].input.suffix == "b"


def test_a_best_of_0_asks_for_no_choices_beyond_n():
    """OpenAI's description allows it."""
    assert complete(best_of=0).requests[0].n == 1
    assert complete(best_of=0, n=2).requests[0] == complete(n=2).requests[0]
