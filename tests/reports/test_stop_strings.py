"""What ends an answer: the request's stop strings and the model's own turn ends, whatever they spell."""

import asyncio

import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import Finished, TextDelta
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.specs.request import ChatInput, GenerateRequest
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_core.testing.fake import ByteTokenizer, FakeTokenEngine

CHAT = ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),))
CONTROL = ("<|eot_id|>", "<think>", "</think>", "<|python_tag|>")
PLAIN = "{{ messages[0].content }}"


def answer(written, *, template=PLAIN, parameters=None, end_of_turn=False, **sampling):
    """`written` by a model that has CONTROL as control tokens."""

    async def main():
        tokenizer = ByteTokenizer(chat_template=template, more_control_tokens=CONTROL)
        if end_of_turn:
            tokenizer.end_tokens |= {tokenizer.control_tokens["<|eot_id|>"]}
        script = tokenizer.encode(written, special=True)
        spec = ModelSpec(name="fake", digest="", format="other", files=(), parameters=parameters or {})
        whole = assemble(FakeTokenEngine(tokenizer=tokenizer, script=lambda request, choice: script), spec, dialects=())
        request = GenerateRequest(id=1, input=CHAT, sampling=SamplingParams(**sampling))
        try:
            return [event async for event in whole.generate(request)]
        finally:
            await whole.close()

    events = asyncio.run(main())
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events[-1]


@pytest.mark.parametrize("stop", [(), ("Q:",), ("never", "ever")])
def test_a_model_without_a_template_ends_its_turn_also_where_the_request_has_stops(stop):
    """It speaks ChatML, whose end is plain text to it."""

    async def main():
        tokenizer = ByteTokenizer(chat_template=None)
        script = list(b"fine<|im_end|>\n<|im_start|>user")
        whole = assemble(
            FakeTokenEngine(tokenizer=tokenizer, script=lambda request, choice: script),
            ModelSpec(name="fake", digest="", format="other", files=()),
            dialects=(),
        )
        request = GenerateRequest(id=1, input=CHAT, sampling=SamplingParams(stop=stop))
        events = [event async for event in whole.generate(request)]
        await whole.close()
        return events

    events = asyncio.run(main())
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "fine"
    assert events[-1].reason == "stop"


@pytest.mark.parametrize("parameters", [{"stop": "<END>"}, {"stop": ["<END>", "<X>"]}])
def test_the_models_own_stops_hold_beside_those_of_the_request(parameters):
    assert answer("a<END>b", parameters=parameters, stop=("zzz",))[0] == "a"
    assert answer("a zzz<END>", parameters=parameters, stop=("zzz",))[0] == "a "


@pytest.mark.parametrize(
    ("written", "stop", "given"),
    [
        ("one<|python_tag|>two", "<|python_tag|>", "one"),
        ("one<|python_tag|>two", "ne<|python_tag|>t", "o"),
        ("one<|python_tag|>\n\ntwo", "<|python_tag|>\n\n", "one"),
        ("one<|python_tag|><|eot_id|>two", "<|python_tag|><|eot_id|>", "one"),
        ("one<|im_start|>user", "<|im_start|>", "one"),
    ],
)
def test_a_stop_string_may_spell_control_tokens(written, stop, given):
    text, finished = answer(written, stop=(stop,))

    assert text == given
    assert (finished.reason, finished.stop) == ("stop", stop)


@pytest.mark.parametrize("stop", ["<|python_tag|>x", "t<|python_tag|>", "<|python_tag|><|python_tag|>"])
def test_a_control_token_that_only_begins_a_stop_string_has_no_text(stop):
    text, finished = answer("one<|python_tag|>two", stop=(stop,))

    assert text == "onetwo"
    assert finished.stop is None


def test_a_stop_string_that_is_the_models_end_token_is_named():
    text, finished = answer("one<|eot_id|>two", stop=("<|eot_id|>",), ignore_eos=True, end_of_turn=True)

    assert text == "one"
    assert finished.stop == "<|eot_id|>"


def test_a_stop_string_that_spells_a_control_token_as_text_stops_too():
    """A user's document may hold it, and the model quotes it."""
    (text, finished) = answer("x", stop=("never",))
    assert (text, finished.stop) == ("x", None)

    async def main():
        tokenizer = ByteTokenizer(chat_template=PLAIN, more_control_tokens=CONTROL)
        engine = FakeTokenEngine(tokenizer=tokenizer, script=lambda request, choice: list(b"a <|eot_id|> b"))
        whole = assemble(engine, ModelSpec(name="fake", digest="", format="other", files=()), dialects=())
        request = GenerateRequest(id=1, input=CHAT, sampling=SamplingParams(stop=("<|eot_id|>",)))
        events = [event async for event in whole.generate(request)]
        await whole.close()
        return events

    assert "".join(event.text for event in asyncio.run(main()) if isinstance(event, TextDelta)) == "a "


def test_the_end_of_reasoning_is_no_stop_string_while_the_model_thinks():
    template = PLAIN + "{# <think> </think> #}"
    text, finished = answer("<think>hm</think>two", template=template, stop=("</think>",))

    assert text == "two"
    assert isinstance(finished, Finished)
    assert finished.usage.reasoning_tokens == 4
