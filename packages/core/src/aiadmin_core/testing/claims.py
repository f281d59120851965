"""Behaviours that hold an engine to what its `Capabilities` say: what is claimed is there, and is what it is called."""

import asyncio
import difflib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import msgspec

from ..backend import Engine
from ..runner.calls import PROTOCOLS
from ..specs.capabilities import Capabilities, ConstraintKind, InputKind, Modality, OptionalProtocol
from ..specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex
from ..specs.content import Message, TextPart
from ..specs.events import ReasoningDelta, TextDelta
from ..specs.model import ModelFacts
from ..specs.request import ChatInput, Input, TextInput, TokensInput
from ..specs.sampling import SamplingParams
from .asking import QUESTION, CollectedAnswer, NotClaimed, collect, request
from .behaviour import behaviour

_NAMES: dict[str, tuple[str, ...]] = {
    "inputs": get_args(InputKind),
    "modalities": get_args(Modality),
    "sampling": SamplingParams.__struct_fields__,
    "constraints": get_args(ConstraintKind),
    "protocols": get_args(OptionalProtocol),
}
"""Fields of `Capabilities` that are sets of names, and the names there are."""
_SLOW_S = 0.05
"""A turn of the event loop that others notice."""
_STILL_S = 0.25
"""The loop standing still for as long as this, in one answer, is no accident of a busy machine."""


@behaviour
async def claims_are_spelled_as_they_are_read(engine: Engine) -> None:
    """What is claimed by a name that nobody knows is refused as if it were not there."""
    able = engine.capabilities
    assert isinstance(able, Capabilities), f"capabilities is a {type(able).__name__}, not a Capabilities"
    assert isinstance(engine.facts, ModelFacts), f"facts is a {type(engine.facts).__name__}, not a ModelFacts"
    for field, known in _NAMES.items():
        for name in getattr(able, field):
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" There is {', '.join(known)}."
            assert name in known, f"Capabilities.{field} claims {name!r}, which is no name of it.{hint}"
    for struct in (able, engine.facts):
        try:
            msgspec.convert(msgspec.to_builtins(struct), type(struct))
        except (msgspec.ValidationError, TypeError) as error:
            raise AssertionError(f"{type(struct).__name__} does not reach the server as it is: {error}") from None


@behaviour
async def what_a_claimed_protocol_needs_is_there(engine: Engine) -> None:
    """The server calls it."""
    methods = [(method, protocol) for method, (protocol, _) in PROTOCOLS.items()]
    for method, protocol in (*methods, ("use_threads", "threads")):
        if protocol in engine.capabilities.protocols:
            assert callable(getattr(engine, method, None)), (
                f"Capabilities.protocols claims {protocol!r}, and the engine has no method '{method}'"
            )


@behaviour
async def every_kind_of_input_it_claims_is_answered(engine: Engine) -> None:
    """Chat and completion endpoints ask in different ways, and clients use both."""
    asked: dict[InputKind, Input] = {
        "chat": ChatInput(messages=(Message(role="user", content=(TextPart(QUESTION),)),)),
        "text": TextInput(text=QUESTION),
        "tokens": TokensInput(tokens=(1, 2, 3)),
    }
    for kind in sorted(engine.capabilities.inputs):
        answer = CollectedAnswer(await collect(engine, request(engine, input=asked[kind])))
        assert answer.finished.usage.completion_tokens > 0, f"a {type(asked[kind]).__name__} was answered with nothing"


@behaviour
async def temperature_zero_gives_one_text(engine: Engine) -> None:
    """Whoever asks for the most likely token each time gets the same ones."""
    if "temperature" not in engine.capabilities.sampling:
        raise NotClaimed("the engine honours no temperature")
    asked = [request(engine, temperature=0.0, seed=None) for _ in range(3)]
    texts = list(dict.fromkeys([CollectedAnswer(await collect(engine, one)).everything for one in asked]))
    assert len(texts) == 1, (
        f"Capabilities.sampling claims 'temperature', and at temperature 0 one question had {len(texts)} answers: "
        f"{texts[0]!r} and {texts[1]!r}"
    )


@behaviour
async def choices_are_drawn_apart(engine: Engine) -> None:
    """Who asks for `n` answers pays for `n` different ones."""
    able = engine.capabilities
    if able.max_choices < 2 or "temperature" not in able.sampling:
        raise NotClaimed("the engine gives one choice a request, or no temperature to draw them at")
    n = min(4, able.max_choices)
    for _ in range(3):
        events = await collect(engine, request(engine, n=n, temperature=1.5, seed=None))
        deltas = [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]
        texts = {"".join(delta.text for delta in deltas if delta.choice == choice) for choice in range(n)}
        if len(texts) > 1:
            return
    raise AssertionError(f"{n} choices at temperature 1.5 are {n} times the same text: {texts.pop()!r}")


@behaviour
async def json_mode_gives_a_json_object(engine: Engine) -> None:
    """A program reads it, whether the prompt speaks of JSON or not. One that `max_tokens` cuts is the beginning of
    an object."""
    for question in ("Give me a JSON object with the name and age of a person.", QUESTION):
        answer = await _constrained(engine, "json_object", JsonObject(), question)
        _is_json(answer, lambda value: isinstance(value, dict), "a JSON object", begins=r"\s*(\{|$)")


@behaviour
async def a_json_schema_is_kept_to(engine: Engine) -> None:
    """The program that reads it looks for its own fields."""
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    answer = await _constrained(engine, "json_schema", JsonSchema(schema=schema), QUESTION)
    _is_json(answer, lambda value: value in ({"ok": True}, {"ok": False}), f"JSON of {schema}", begins=r"\s*(\{|$)")


@behaviour
async def a_regular_expression_is_kept_to(engine: Engine) -> None:
    """From its first character to its last."""
    answer = await _constrained(engine, "regex", Regex("[0-9]{3}-[0-9]{3}"), QUESTION)
    assert re.fullmatch("[0-9]{3}-[0-9]{3}", answer.text) or answer.finished.reason == "length", (
        f"Capabilities.constraints claims 'regex', and [0-9]{{3}}-[0-9]{{3}} was answered with {answer.text!r}"
    )
    assert re.fullmatch("[0-9-]*", answer.text), f"{answer.text!r} is no beginning of [0-9]{{3}}-[0-9]{{3}}"


@behaviour
async def one_of_the_choices_is_taken(engine: Engine) -> None:
    """A program compares it with them."""
    options = ("tea", "coffee")
    answer = await _constrained(engine, "choice", Choice(options), QUESTION)
    assert answer.text in options, f"Capabilities.constraints claims 'choice', and {options} got {answer.text!r}"


@behaviour
async def a_grammar_is_kept_to(engine: Engine) -> None:
    """It is what tool calls are made with."""
    answer = await _constrained(engine, "lark", LarkGrammar('start: "left" | "right"'), QUESTION)
    assert answer.text in ("left", "right"), f"Capabilities.constraints claims 'lark', and got {answer.text!r}"


@behaviour
async def the_event_loop_turns_while_it_answers(engine: Engine) -> None:
    """Other requests, and the heartbeat that says the process lives, are on the same loop."""
    await collect(engine, request(engine))  # the first may import or compile something
    for _ in range(3):  # a busy machine makes a loop slow once or twice
        began = time.perf_counter()
        with _slow_turns() as slow_s:
            await collect(engine, request(engine))
        took_s = time.perf_counter() - began
        if sum(slow_s) < max(_STILL_S, took_s / 2):
            return
    raise AssertionError(
        f"the event loop stood still for {sum(slow_s):.2f} of the {took_s:.2f} s of an answer: `generate` blocks. "
        f"Await something, or do the work on a thread (`asyncio.to_thread`)."
    )


async def _constrained(engine: Engine, kind: ConstraintKind, constraint: Constraint, question: str) -> CollectedAnswer:
    if kind not in engine.capabilities.constraints:
        raise NotClaimed(f"the engine does not claim the constraint {kind!r}")
    return CollectedAnswer(await collect(engine, request(engine, question, constraint=constraint, max_tokens=200)))


def _is_json(answer: CollectedAnswer, right: Callable[[Any], bool], what: str, *, begins: str) -> None:
    claim = f"Capabilities.constraints claims {what}, and the answer is {answer.text[:200]!r}"
    if answer.finished.reason == "length":
        assert re.match(begins, answer.text), claim
        assert is_beginning_of_json(answer.text), f"{claim}, cut by max_tokens: no JSON begins like this"
        return
    try:
        value = json.loads(answer.text)
    except ValueError as error:
        raise AssertionError(f"{claim}: {error}") from None
    assert right(value), claim


_CUT = {
    "Expecting value": r"\s*(-|t(ru?)?|f(a(ls?)?)?|n(ul?)?)?",
    "Expecting property name enclosed in double quotes": r"\s*",
    "Expecting ':' delimiter": r"\s*",
    "Expecting ',' delimiter": r"\s*|(?<=\d)(\.|[eE][-+]?)",  # behind a number, which may go on
    "Extra data": r"\s*",
    "Unterminated string starting at": r'"([^"\\]|\\.)*\\?',
    "Invalid \\escape": r"\\",
    "Invalid \\uXXXX escape": r"\\?u?[0-9a-fA-F]{0,3}",
}
"""What Python's parser says of JSON that was cut, and what may then stand between the place it means and the end."""


def is_beginning_of_json(text: str) -> bool:
    """Whether `text` could be continued to JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        rest = _CUT.get(error.msg.removesuffix(": "))
        return rest is not None and re.compile(rest).fullmatch(text, error.pos) is not None
    return True


@contextmanager
def _slow_turns() -> Iterator[list[float]]:
    """How long each turn of the running event loop took that was slow, as asyncio itself measures them."""
    loop, found = asyncio.get_running_loop(), list[float]()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg.startswith("Executing") and isinstance(record.args, tuple):
                found.append(float(str(record.args[-1])))

    handler, log = Handler(), logging.getLogger("asyncio")
    before = loop.get_debug(), loop.slow_callback_duration, log.level
    loop.set_debug(True)
    loop.slow_callback_duration = _SLOW_S
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    try:
        yield found
    finally:
        log.removeHandler(handler)
        loop.set_debug(before[0])
        loop.slow_callback_duration = before[1]
        log.setLevel(before[2])
