"""Tool calls from the request to the events, with a dialect like Hermes's."""

import asyncio
import json
import random
import re
from dataclasses import dataclass

import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.dialects.dialect import CallPiece, Dialect
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import JsonObject
from aiadmin_core.specs.content import Message, TextPart, Tool
from aiadmin_core.specs.events import Failed, Finished, ReasoningDelta, TextDelta, ToolCallDelta
from aiadmin_core.specs.model import ModelFacts, ModelSpec
from aiadmin_core.specs.request import ChatInput, GenerateRequest, ToolChoice
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_core.testing.fake import ByteTokenizer, FakeTokenEngine, says
from aiadmin_core.text.pipeline import MOST_CALLS

MODEL = ModelSpec(name="fake", digest="", format="other", files=())
TEMPLATE = (
    "{% if tools %}[{% for tool in tools %}{{ tool.function.name }} {% endfor %}]{% endif %}"
    "{{ messages[0].content }}{# <tool_call> #}"
)
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Bonn", "Köln"]}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = (Tool(name="weather", description="Tell the weather.", parameters=CITY), Tool(name="time", parameters=CITY))


def call(name="weather", arguments='{"city": "Bonn"}'):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def ask(*, tools=TOOLS, n=1, constraint=None, mode="auto", names=(), parallel=True, **sampling):
    return GenerateRequest(
        id=5,
        input=ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),), tools=tools),
        n=n,
        constraint=constraint,
        tool_choice=ToolChoice(mode=mode, names=names, parallel=parallel),
        sampling=SamplingParams(**sampling),
    )


def draws(seed):
    """A model that takes any token it is allowed."""

    def script(request, choice):
        draw = random.Random(f"{seed}:{choice}")
        while True:
            bits = request.matchers[choice].mask().view("uint8")
            yield draw.choice([8 * i + bit for i in bits.nonzero()[0] for bit in range(8) if bits[i] >> bit & 1])

    return script


@dataclass
class Answer:
    """The events of one choice, put together."""

    events: list
    text: str = ""
    reasoning: str = ""
    finished: Finished | None = None

    def __post_init__(self):
        self.calls = []
        self.ids = []
        for event in self.events:
            match event:
                case TextDelta(text=text):
                    self.text += text
                case ReasoningDelta(text=text):
                    self.reasoning += text
                case ToolCallDelta(index=index, id=id, name=name, arguments=arguments):
                    if name is not None:
                        assert index == len(self.calls)
                        self.calls.append((name, ""))
                        self.ids.append(id)
                    assert (name is None) == (id is None)
                    self.calls[index] = (self.calls[index][0], self.calls[index][1] + arguments)
                case Finished():
                    self.finished = event


def events(engine, request, dialects, **model):
    async def main():
        spec = ModelSpec(**{"name": "fake", "digest": "", "format": "other", "files": (), **model})
        whole = assemble(engine, spec, dialects=dialects)
        try:
            return [event async for event in whole.generate(request)]
        finally:
            await whole.close()

    return asyncio.run(main())


def engine_that(script, template=TEMPLATE, **options):
    tokenizer = ByteTokenizer(chat_template=template, **options)
    return FakeTokenEngine(tokenizer=tokenizer, script=says(script) if isinstance(script, str) else script)


@pytest.fixture
def answer(free_hermes):
    """The answer of a model that says `script`."""

    def answer(script, request=None, *, template=TEMPLATE, **model):
        return Answer(events(engine_that(script, template), request or ask(), [free_hermes], **model))

    return answer


@pytest.fixture
def refusal(hermes):
    def refusal(request, dialects=(hermes,)):
        engine = engine_that("x")
        with pytest.raises(BadRequest) as caught:
            events(engine, request, dialects)
        assert engine.submitted == []
        return caught.value

    return refusal


def prompt(engine):
    (segment,) = engine.submitted[-1].prompt
    return bytes(segment.tokens).decode()


def prompt_text(engine):
    (segment,) = engine.submitted[-1].prompt
    return bytes(token for token in segment.tokens if token < 256).decode()


def test_a_call_is_told_apart(answer):
    given = answer(call())

    assert given.calls == [("weather", '{"city": "Bonn"}')]
    assert re.fullmatch(r"call_[0-9a-f]{24}", given.ids[0])
    assert given.text == ""
    assert (given.finished.reason, given.finished.stop) == ("tool_calls", None)


def test_the_text_around_calls_is_kept_in_its_place(answer):
    given = answer(f"Let me see. {call()} And {call('time', '{}')} now.")

    assert given.text == "Let me see.  And  now."
    assert given.calls == [("weather", '{"city": "Bonn"}'), ("time", "{}")]
    assert len(set(given.ids)) == 2


@pytest.mark.parametrize(
    "script",
    [
        f"a < b {call()}",
        call("f", '{"a": {"b": {}}, "c": "}\\n</tool"}') + "\n" + call("g", '{"q": "\\"é🙂"}'),
        "<tool_call>\nno call at all\n</tool_call> and text",
        '<tool_call>{"name": "f", "argum',
        call("f", '{"broken": [1,'),
        "nothing </tool_call> to <tool_cal see <tool_",
    ],
)
@pytest.mark.parametrize("n_at_once", [1, 2, 3, 7, 10_000])
def test_however_the_answer_is_cut_it_reads_the_same(hermes, script, n_at_once):
    parser = hermes.parser("", TOOLS)
    cut = [script[i : i + n_at_once] for i in range(0, len(script), n_at_once)]
    pieces = [piece for part in cut for piece in parser.feed(part)] + list(parser.end(""))
    whole = hermes.parser("", TOOLS)
    expected = [*whole.feed(script), *whole.end("")]

    assert joined(pieces) == joined(expected)


def joined(pieces):
    parts = []
    for piece in pieces:
        kind = "text" if isinstance(piece, str) else "call"
        text = piece if isinstance(piece, str) else piece.arguments
        if kind == "call" and piece.name is not None:
            parts.append([piece.name, text])
        elif kind == "text" and not (parts and parts[-1][0] == kind):
            parts.append([kind, text])
        else:
            parts[-1][1] += text
    return parts


def test_token_by_token_nothing_of_a_marker_leaks_and_arguments_come_as_they_are_written(hermes):
    async def main():
        engine = FakeTokenEngine(
            tokenizer=ByteTokenizer(chat_template=TEMPLATE), script=says("ok" + call()), manual=True
        )
        whole = assemble(engine, MODEL, dialects=[hermes])
        seen = []

        async def read():
            seen.extend([event async for event in whole.generate(ask())])

        reader = asyncio.create_task(read())
        while not reader.done():
            if engine.submitted:
                engine.step()
            await asyncio.sleep(0.001)
        await whole.close()
        return seen

    deltas = [event for event in asyncio.run(main()) if isinstance(event, TextDelta | ToolCallDelta)]
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "ok"
    assert (calls[0].name, calls[0].id is None, calls[0].index) == ("weather", False, 0)
    assert len(calls) > 10
    assert all((delta.id, delta.name, delta.index) == (None, None, 0) for delta in calls[1:])


@pytest.mark.parametrize(
    "script",
    ["<tool_call>\nI would call it\n</tool_call>", '<tool_call>\n{"name": 3}\n</tool_call>', '<tool_call>{"name": "f"'],
)
def test_what_cannot_be_read_is_text(answer, script):
    given = answer(f"So: {script}")

    assert given.text == f"So: {script}"
    assert given.calls == []
    assert given.finished.reason == "stop"


def test_arguments_that_are_no_json_are_passed_on_as_they_are(answer):
    given = answer(call(arguments='{"city": Bonn'))

    assert given.calls == [("weather", '{"city": Bonn')]
    assert given.finished.reason == "tool_calls"


def test_an_answer_without_calls_ends_as_usual(answer):
    assert answer("Hello!").finished.reason == "stop"
    assert answer("Hello!").text == "Hello!"


def test_a_call_that_max_tokens_cuts_is_cut_by_length(answer):
    given = answer(call(), ask(max_tokens=len(call()) - 22))

    assert given.finished.reason == "length"
    assert call().find(given.calls[0][1]) > 0


def test_a_stop_string_holds_in_calls_too_and_is_a_stop(answer):
    given = answer(call() + call("time"), ask(stop=("time",)))

    assert given.calls == [("weather", '{"city": "Bonn"}')]
    assert given.text == ""
    assert (given.finished.reason, given.finished.stop) == ("stop", "time")


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_stop_string_in_arguments_ends_them_and_never_leaks(answer, n):
    given = answer(call("f", '{"city": "Bonn am Rhein"}'), ask(stop=("Bonn"[:n], "nn am")))

    assert given.calls == [("f", '{"city": "')]
    assert given.finished.reason == "stop"


def test_the_models_own_stop_string_is_how_it_ends_a_turn(answer):
    given = answer(call() + "<END> more", parameters={"stop": "<END>"})

    assert given.text == ""
    assert (given.finished.reason, given.finished.stop) == ("tool_calls", "<END>")


def test_reasoning_is_read_before_calls_and_calls_in_it_are_thoughts(answer):
    template = TEMPLATE + "{# <think> </think> #}"
    given = answer(f"<think>I could {call()}</think>Well: {call('time', '{}')}", template=template)

    assert given.reasoning == f"I could {call()}"
    assert given.text == "Well: "
    assert given.calls == [("time", "{}")]


def test_each_choice_has_its_own_calls(free_hermes):
    scripts = ["none", call(), call("time", "{}") + call()]
    engine = engine_that(lambda request, choice: list(scripts[choice].encode()))
    given = events(engine, ask(n=3), [free_hermes])
    answers = [Answer([e for e in given if getattr(e, "choice", None) == choice]) for choice in range(3)]

    assert [one.text for one in answers] == ["none", "", ""]
    assert [[name for name, _ in one.calls] for one in answers] == [[], ["weather"], ["time", "weather"]]
    assert [one.finished.reason for one in answers] == ["stop", "tool_calls", "tool_calls"]
    assert len({*answers[1].ids, *answers[2].ids}) == 3


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_markers_may_be_control_tokens(free_hermes, mode):
    """Where no call can come they have no text, like any control token."""
    engine = engine_that("", more_control_tokens=["<tool_call>", "</tool_call>"])
    engine.script = lambda request, choice: engine.tokenizer.encode(call(), special=True)
    given = Answer(events(engine, ask(mode=mode), [free_hermes]))

    if mode == "auto":
        assert given.calls == [("weather", '{"city": "Bonn"}')]
    assert given.text == ("" if mode == "auto" else '\n{"name": "weather", "arguments": {"city": "Bonn"}}\n')


def test_without_parallel_calls_the_answer_ends_after_the_first(free_hermes):
    engine = engine_that(f"{call()} then {call('time')}")
    given = Answer(events(engine, ask(parallel=False), [free_hermes]))

    assert [name for name, _ in given.calls] == ["weather"]
    assert given.text == " then "
    assert given.finished.reason == "tool_calls"
    assert engine.cancelled == [(1, 0)]


def test_a_model_that_calls_on_and_on_is_stopped(free_hermes):
    """Small models that have to call something do, until their context is full."""
    engine = engine_that(call() * (MOST_CALLS + 3))
    given = Answer(events(engine, ask(), [free_hermes]))

    assert given.calls == [("weather", '{"city": "Bonn"}')] * MOST_CALLS
    assert given.finished.reason == "tool_calls"
    assert engine.cancelled == [(1, 0)]


def test_log_probabilities_are_of_the_text_not_of_the_calls(answer):
    given = answer(f"a <b {call()} c", ask(logprobs=0))
    tokens = [token for event in given.events if isinstance(event, TextDelta) for token in event.logprobs]

    assert b"".join(token.bytes for token in tokens).decode() == given.text == "a <b  c"


def test_tools_are_shown_to_the_model(hermes):
    engine = engine_that("x")
    events(engine, ask(), [hermes])

    assert prompt(engine) == "[weather time ]hi"


def test_tools_that_must_not_be_called_are_neither_shown_nor_parsed(hermes):
    engine = engine_that(call())
    given = Answer(events(engine, ask(mode="none"), [hermes]))

    assert prompt(engine) == "hi"
    assert given.text == call()
    assert given.finished.reason == "stop"


def test_without_tools_nothing_is_parsed(answer):
    assert answer(call(), ask(tools=())).text == call()


@pytest.mark.parametrize("n_dialects", [0, 1])
def test_a_model_whose_template_knows_no_tools_is_told_of_them(hermes, n_dialects):
    engine = FakeTokenEngine(script=says(f"Well. {call()}"))  # its template is ChatML
    tools = (Tool(name="weather", description="Tells it.", parameters={"type": "object"}),)
    given = Answer(events(engine, ask(tools=tools), [hermes][:n_dialects]))

    assert given.calls == [("weather", '{"city": "Bonn"}')]
    assert given.text == "Well. "
    assert '"description": "Tells it."' in prompt_text(engine)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("control", [(), ("<tool_call>", "</tool_call>")])
def test_a_tool_that_is_required_is_called(hermes, parallel, control):
    engine = engine_that(draws(seed=1), more_control_tokens=control)
    request = ask(mode="required", names=("time",), parallel=parallel)
    given = Answer(events(engine, request, [hermes]))

    assert {name for name, _ in given.calls} == {"time"}
    assert parallel or len(given.calls) == 1
    assert json.loads(given.calls[0][1])["city"] in ("Bonn", "Köln")
    assert given.finished.reason == "tool_calls"


@pytest.mark.filterwarnings("ignore:llama_token_get_attr is deprecated:DeprecationWarning")  # llguidance calls it
@pytest.mark.parametrize("seed", range(3))
def test_required_calls_hold_on_a_real_vocabulary(hermes, smollm2_tokenizer, seed, monkeypatch):
    """Whatever is drawn under the mask is a call of one of the tools, with arguments of its schema."""
    monkeypatch.setattr(smollm2_tokenizer, "chat_template", TEMPLATE)

    engine = FakeTokenEngine(
        tokenizer=smollm2_tokenizer, script=draws(seed), facts=ModelFacts(n_ctx=4096, n_vocab=smollm2_tokenizer.n_vocab)
    )
    given = events(engine, ask(mode="required", parallel=False, n=4), [hermes])

    assert not [event for event in given if isinstance(event, Failed)]
    for choice in range(4):
        one = Answer([event for event in given if getattr(event, "choice", None) == choice])
        ((name, arguments),) = one.calls
        assert name in ("weather", "time")
        assert set(json.loads(arguments)) == {"city", "days"}
        assert one.text == ""
        assert one.finished.reason == "tool_calls"


def tool_of(properties):
    return Tool(name="f", parameters={"type": "object", "properties": properties}, strict=True)


@pytest.mark.parametrize("parameters", [{}, {"type": ["object", "null"]}, {"properties": {}}, {"anyOf": [{}, {}]}])
@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_arguments_are_an_object_whatever_else_their_schema_allows(hermes, parameters, template):
    request = ask(mode="required", tools=(Tool(name="f", parameters=parameters),))
    for seed in range(5):
        given = Answer(events(engine_that(draws(seed), template), request, [hermes]))

        assert isinstance(json.loads(given.calls[0][1]), dict)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ask(mode="required", tools=()), "tool_choice"),
        (ask(mode="required", names=("nobody",)), "tool_choice"),
        (ask(mode="required", tools=(tool_of({"a": {"type": "nonsense"}}),)), "tools[0].parameters"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(refusal, request_, param):
    assert refusal(request_).param == param


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (ask(mode="required"), "tool_choice"),
        (ask(mode="required", names=("time",)), "tool_choice"),
        (ask(mode="auto", names=("time",)), "tool_choice"),
        (ask(tools=(TOOLS[0], Tool(name="f", strict=True))), "tools[1].strict"),
        (ask(constraint=JsonObject()), "constraint"),
    ],
)
def test_a_dialect_without_grammars_cannot_bind_calls(hermes, refusal, request_, param):
    class Plain(Dialect):
        name, markers, calls = hermes.name, hermes.markers, True
        recognises, parser = hermes.recognises, hermes.parser

    assert refusal(request_, [Plain()]).param == param
    assert Answer(events(engine_that(call()), ask(), [Plain()])).calls


@pytest.mark.parametrize(("script", "calls", "text"), [(draws(3), 1, ""), ('{"a": 1}', 0, '{"a": 1}')])
def test_with_a_format_an_answer_is_calls_or_keeps_to_it(hermes, script, calls, text):
    engine = engine_that(script, more_control_tokens=["<tool_call>"])
    if calls:
        engine.script = lambda request, choice: [engine.tokenizer.control_tokens["<tool_call>"]]
    given = Answer(events(engine, ask(constraint=JsonObject(), parallel=False), [hermes]))

    assert len(given.calls) == calls
    assert given.text == text


def test_calls_that_are_free_to_come_keep_to_their_schema_once_their_marker_is_there(hermes):
    """Also of tools that are not strict, and whatever the model had in mind."""
    given = Answer(events(engine_that("Hm. <tool_call>no call at all", TEMPLATE), ask(), [hermes]))

    assert given.text == "Hm. "
    assert given.calls[0][0] in ("weather", "time")
    assert set(json.loads(given.calls[0][1])) == {"city", "days"}


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_strict_tool_whose_schema_cannot_be_enforced_is_refused_by_its_pointer(mode):
    parameters = {"type": "object", "properties": {"a": {"type": "array", "items": {}, "uniqueItems": True}}}
    engine = engine_that("x")
    with pytest.raises(BadRequest, match="#/properties/a/uniqueItems") as caught:
        events(engine, ask(tools=(TOOLS[0], Tool(name="f", parameters=parameters, strict=True)), mode=mode), [])
    assert caught.value.param == "tools[1].parameters"

    loose = Answer(
        events(engine_that(draws(2)), ask(tools=(Tool(name="f", parameters=parameters),), mode="required"), [])
    )
    assert loose.calls[0][0] == "f"


def test_a_text_that_is_written_between_tags_cannot_be_kept_to_a_pattern(shared_data):
    template = (shared_data / "chat_templates" / "Qwen3.5-4B.jinja").read_text(encoding="utf-8")
    properties = {"a": {"type": "string", "pattern": "^x", "description": "d"}}
    tool = Tool(name="f", description="d", parameters={"type": "object", "properties": properties}, strict=True)
    with pytest.raises(BadRequest, match="#/properties/a/pattern"):
        events(engine_that("x", template), ask(tools=(tool,)), [])


def test_a_tool_without_parameters_is_called_without_arguments():
    given = Answer(events(engine_that(draws(1)), ask(tools=(Tool(name="now"),), mode="required", parallel=False), []))

    assert given.calls == [("now", "{}")]


def test_only_allowed_tools_can_be_called(hermes):
    given = Answer(events(engine_that("ok" + call("weather")), ask(names=("time",)), [hermes]))

    assert given.text == "ok"
    assert [name for name, _ in given.calls] == ["time"]


def test_a_format_may_be_asked_for_where_no_tool_can_be_called(answer):
    assert answer('{"a": 1}', ask(mode="none", constraint=JsonObject())).text == '{"a": 1}'


def test_the_models_own_ids_are_kept(hermes):
    class WithIds(Dialect):
        calls, recognises = True, hermes.recognises
        reasoning, n_held = False, 0

        def parser(self, prompt_tail, tools):
            return self

        def feed(self, text):
            return [CallPiece(name="f", arguments="{}", id=f"functions.f:{text}")]

        def end(self, token):
            return []

    assert Answer(events(engine_that("01"), ask(), [WithIds()])).ids == ["functions.f:0", "functions.f:1"]


def test_a_dialect_that_breaks_fails_its_request_only(hermes):
    class Careless(Dialect):
        calls, recognises = True, hermes.recognises
        n_held = 0

        def parser(self, prompt_tail, tools):
            return self

        def feed(self, text):
            return [CallPiece(arguments=text)]

    (*_, failed) = events(engine_that("x"), ask(), [Careless()])

    assert isinstance(failed, Failed)
    assert "before the name" in failed.message
