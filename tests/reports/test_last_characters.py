"""Answers end with a whole character, whoever ends them, and say nothing that the model did not."""

import asyncio

import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import Finished, ReasoningDelta, TextDelta
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.specs.request import ChatInput, GenerateRequest, TextInput
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_core.testing.fake import ByteTokenizer, FakeTokenEngine

CHAT = ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),))
MODEL = ModelSpec(name="fake", digest="", format="other", files=())
THINKING = "{{ messages[0].content }}{# <think> </think> #}"


def answer(written: bytes, *, input=CHAT, template="{{ messages[0].content }}", n=1, **sampling):
    async def main():
        tokenizer = ByteTokenizer(chat_template=template)
        whole = assemble(
            FakeTokenEngine(tokenizer=tokenizer, script=lambda request, choice: list(written)), MODEL, dialects=()
        )
        request = GenerateRequest(id=1, input=input, n=n, sampling=SamplingParams(**sampling))
        try:
            return [event async for event in whole.generate(request)]
        finally:
            await whole.close()

    return asyncio.run(main())


def text(events, kind=TextDelta):
    return "".join(event.text for event in events if isinstance(event, kind))


@pytest.mark.parametrize("character", ["é", "€", "🙂"])
@pytest.mark.parametrize("input", [CHAT, TextInput(text="x")])
def test_an_answer_that_max_tokens_cuts_inside_a_character_ends_before_it(character, input):
    written = f"ok {character}".encode()
    for n_tokens in range(3, len(written)):
        events = answer(written, input=input, max_tokens=n_tokens)

        assert text(events) == "ok "
        assert events[-1].reason == "length"


def test_a_model_that_ends_inside_a_character_ends_before_it():
    events = answer("ok 🙂".encode()[:-1])

    assert text(events) == "ok "
    assert events[-1].reason == "stop"


def test_reasoning_that_is_cut_inside_a_character_ends_before_it():
    assert text(answer("<think>hm 🙂".encode()[:-2], template=THINKING), ReasoningDelta) == "hm"


def test_a_character_of_several_parts_is_cut_between_them():
    """A family is four people and what joins them: half of one person goes, the others stay."""
    family = "👩‍👩"
    assert text(answer(family.encode()[:-1])) == "👩‍"


def test_what_is_held_for_a_stop_string_is_given_without_the_unfinished_character():
    assert text(answer(b"a ST" + "🙂".encode()[:2], stop=("STOP",))) == "a ST"


def test_tokens_of_an_unfinished_character_are_not_reported_with_log_probabilities():
    events = answer("ok 🙂".encode()[:-1], logprobs=0)
    tokens = [token for event in events if isinstance(event, TextDelta) for token in event.logprobs]

    assert b"".join(token.bytes for token in tokens) == b"ok "


def test_the_tokens_left_out_are_counted():
    """They were generated, and took their time."""
    *_, finished = answer("ok 🙂".encode(), max_tokens=5)

    assert isinstance(finished, Finished)
    assert finished.usage.completion_tokens == 5


def test_bytes_that_are_no_character_are_replaced_where_text_goes_on():
    assert text(answer(b"a\xf0\x9fb")) == "a�b"


def test_each_choice_ends_with_a_whole_character():
    texts = {0: "", 1: "", 2: ""}
    for event in answer("ok 🙂".encode(), n=3, max_tokens=4):
        if isinstance(event, TextDelta):
            texts[event.choice] += event.text

    assert texts == {0: "ok ", 1: "ok ", 2: "ok "}
