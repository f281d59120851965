"""Engines that are wrong in one way each: the kit finds every one, and says in a sentence what is wrong."""

import asyncio
import random
import time

import pytest
from msgspec.structs import replace

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Finished, Started, TextDelta, Usage
from aiadmin_core.testing import claims, conformance
from aiadmin_core.testing.claims import is_beginning_of_json
from aiadmin_core.testing.conformance import Patience, check
from aiadmin_core.testing.echo import EchoEngine

IMPATIENT = Patience(whole_s=60.0, idle_s=0.1)


class Faulty(EchoEngine):
    """Breaks one promise."""

    def __init__(self, **claimed):
        super().__init__()
        self.capabilities = replace(EchoEngine.capabilities, **claimed)


class EndsTwice(Faulty):
    async def generate(self, request):
        yield Finished(request.id, "stop", Usage(prompt_tokens=1, completion_tokens=1))
        async for event in super().generate(request):
            yield event


class StartsLate(Faulty):
    async def generate(self, request):
        yield TextDelta(request.id, "x")
        yield Started(request.id, 1)
        async for event in super().generate(request):
            yield event


class AnswersAnother(Faulty):
    async def generate(self, request):
        yield TextDelta(request.id + 1, "x")
        async for event in super().generate(request):
            yield event


class HalfACharacter(Faulty):
    async def generate(self, request):
        yield TextDelta(request.id, "\ufffd ")
        async for event in super().generate(request):
            yield event


class GivesText(Faulty):
    async def generate(self, request):
        yield "just text"


class GivesWrongTypes(Faulty):
    async def generate(self, request):
        yield Started(request.id, 1)
        yield Finished(request.id, "done", Usage(prompt_tokens=1, completion_tokens=1))


class NeverEnds(Faulty):
    async def generate(self, request):
        yield Started(request.id, 1)
        await asyncio.Event().wait()


class KeepsItsPlace(Faulty):
    """Counts who comes, and nobody who leaves before the end."""

    async def generate(self, request):
        self._n_running += 1
        async for event in super().generate(request):
            yield event
        self._n_running -= 1


class KeepsEveryPlace(Faulty):
    async def generate(self, request):
        self._n_running += 1
        async for event in super().generate(request):
            yield event


class WritesProse(Faulty):
    """Claims JSON, and cuts its prose at `max_tokens` as an honest engine does."""

    reason = "length"

    async def generate(self, request):
        yield TextDelta(request.id, "Sure! Here is some JSON for you: ")
        yield Finished(request.id, self.reason, Usage(prompt_tokens=1, completion_tokens=9))


class WritesJsonWhenAsked(Faulty):
    """Obeys the prompt, not the constraint."""

    async def generate(self, request):
        text = '{"a": 1}' if "JSON" in str(request.messages) else "One, two."
        yield TextDelta(request.id, text)
        yield Finished(request.id, "stop", Usage(prompt_tokens=1, completion_tokens=9))


class KnowsChatsOnly(Faulty):
    """Claims text, and looks for messages."""

    async def generate(self, request):
        request.messages[-1]
        async for event in super().generate(request):
            yield event


class Random(Faulty):
    """Draws at any temperature."""

    async def generate(self, request):
        for choice in range(request.n):
            yield TextDelta(request.id, str(random.random()), choice)
            yield Finished(request.id, "stop", Usage(prompt_tokens=1, completion_tokens=9), choice)


class Repeats(Faulty):
    """Gives one text under every index."""

    async def generate(self, request):
        for choice in range(request.n):
            yield TextDelta(request.id, "one two three", choice)
            yield Finished(request.id, "stop", Usage(prompt_tokens=1, completion_tokens=3), choice)


class Blocks(Faulty):
    """Sleeps where it should await."""

    async def generate(self, request):
        async for event in super().generate(request):
            time.sleep(0.06)  # noqa: ASYNC251 - what is tested
            yield event


class BlocksInATask(Faulty):
    """The same, where nobody looks."""

    async def generate(self, request):
        async def work():
            time.sleep(0.4)  # noqa: ASYNC251 - what is tested

        await asyncio.create_task(work())
        async for event in super().generate(request):
            yield event


@pytest.mark.parametrize(
    ("engine", "behaviour", "said"),
    [
        (EndsTwice(), conformance.a_choice_ends_exactly_once_and_nothing_follows, "one end expected"),
        (StartsLate(), conformance.started_comes_first_if_it_comes, "Started came as event"),
        (AnswersAnother(), conformance.every_event_carries_its_request_id, "was given events of"),
        (HalfACharacter(), conformance.characters_are_whole, "half a character"),
        (GivesText(), conformance.an_answer_has_text, "gave 'just text', which is no event"),
        (GivesWrongTypes(), conformance.an_answer_has_text, "does not reach the server as it is: Invalid enum value"),
        (NeverEnds(), conformance.an_answer_has_text, "an_answer_has_text was not over after 0.1 s"),
        (KeepsItsPlace(), conformance.closing_the_stream_frees_its_place, "still counts n_running=1 and n_waiting=0"),
        (KeepsEveryPlace(), conformance.an_answer_that_is_over_holds_no_place, "keeps its place"),
        (WritesProse(constraints={"json_object"}), claims.json_mode_gives_a_json_object, "claims a JSON object"),
        (WritesJsonWhenAsked(constraints={"json_object"}), claims.json_mode_gives_a_json_object, "'One, two.'"),
        (WritesProse(constraints={"json_schema"}), claims.a_json_schema_is_kept_to, "claims JSON of {'type'"),
        (WritesProse(constraints={"regex"}), claims.a_regular_expression_is_kept_to, "no beginning of"),
        (WritesProse(constraints={"choice"}), claims.one_of_the_choices_is_taken, "claims 'choice'"),
        (WritesProse(constraints={"lark"}), claims.a_grammar_is_kept_to, "claims 'lark'"),
        (
            KnowsChatsOnly(inputs={"chat", "text"}),
            claims.every_kind_of_input_it_claims_is_answered,
            "`generate` raised IndexError: tuple index out of range, for a TextInput",
        ),
        (Random(sampling={"temperature"}), claims.temperature_zero_gives_one_text, "one question had 3 answers"),
        (Repeats(max_choices=4, sampling={"temperature"}), claims.choices_are_drawn_apart, "4 times the same text"),
        (Blocks(), claims.the_event_loop_turns_while_it_answers, "the event loop stood still for"),
        (BlocksInATask(), claims.the_event_loop_turns_while_it_answers, "`generate` blocks"),
        (
            Faulty(sampling={"temprature"}),
            claims.claims_are_spelled_as_they_are_read,
            "Capabilities.sampling claims 'temprature', which is no name of it. Did you mean 'temperature'?",
        ),
        (Faulty(constraints={"json"}), claims.claims_are_spelled_as_they_are_read, "claims 'json'"),
        (Faulty(inputs={"chats"}), claims.claims_are_spelled_as_they_are_read, "Did you mean 'chat'?"),
        (Faulty(max_choices="4"), claims.claims_are_spelled_as_they_are_read, "Capabilities does not reach the server"),
        (Faulty(protocols={"embed"}), claims.what_a_claimed_protocol_needs_is_there, "has no method 'embed'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Faulty) else "",
)
def test_a_broken_promise_is_found_and_said(engine, behaviour, said):
    patience = Patience(whole_s=0.1) if isinstance(engine, NeverEnds) else IMPATIENT
    with pytest.raises(AssertionError) as found:
        asyncio.run(check(behaviour, engine, patience))
    assert said in str(found.value)


def test_an_engine_that_generates_nothing_is_asked_for_nothing():
    encoder = Faulty(generates=False)
    with pytest.raises(conformance.NotClaimed, match="generates no text"):
        asyncio.run(check(conformance.an_answer_has_text, encoder))


@pytest.mark.parametrize(
    ("text", "may_go_on"),
    [
        ('{"name": "Ann", "age": 3', True),
        ('{"name": "An', True),
        ('{"name": "An\\', True),
        ('{"name": "An\\u00', True),
        ('{"name"', True),
        ('{"a": [1, 2.', True),
        ('{"a": -', True),
        ('{"a": tru', True),
        ("", True),
        ('{"a": 1}', True),
        ('{"a": 1} and more', False),
        ("{name", False),
        ('{"a": 1,, ', False),
        ('{"a": 1 2', False),
        ('{"a": 1.', True),
        ('{"a": 1.5e-', True),
        ('{"a"', True),
        ('{"a": 1,', True),
        ('{"a": 1, b', False),
        ('{"a": trust', False),
        ('{"a": "\n', False),
        ('{"a": "\\x', False),
        ("Sure! Here", False),
    ],
)
def test_what_may_become_json_is_told_from_what_cannot(text, may_go_on):
    assert is_beginning_of_json(text) is may_go_on


def test_claims_have_the_defaults_of_an_engine_that_can_do_little():
    assert Faulty().capabilities == Capabilities()
