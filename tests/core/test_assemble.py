"""A TokenEngine made into an Engine."""

import asyncio
import threading
from contextlib import aclosing

import msgspec
import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.backend import Broken
from aiadmin_core.dialects.dialect import Dialect
from aiadmin_core.dialects.reasoning.marked import MarkedReasoning
from aiadmin_core.errors import (
    AiAdminError,
    BadRequest,
    ContextLengthExceeded,
    EngineStopped,
    Overloaded,
    UnsupportedParameter,
)
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.constraint import JsonObject, JsonSchema
from aiadmin_core.specs.content import ImagePart, Message, TextPart
from aiadmin_core.specs.events import Failed, Finished, ReasoningDelta, Started, TextDelta
from aiadmin_core.specs.model import ModelFacts, ModelSpec
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.request import ChatInput, GenerateRequest, TextInput, TokensInput
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_core.specs.vectors import Scores, Vectors
from aiadmin_core.testing.fake import BOS, END, ByteTokenizer, FakeTokenEngine, says

MODEL = ModelSpec(name="fake", digest="", format="other", files=())
THINKING = "{{ messages[0].content }}<|im_start|>{{ '<think>' if think else '' }}{# <think> </think> #}"


def assembled(engine, **model):
    spec = ModelSpec(**{"name": "fake", "digest": "", "format": "other", "files": (), **model})
    return assemble(engine, spec, dialects=())


def ask(text="hi", *, input=None, n=1, constraint=None, options=None, id=5, **sampling):
    chat = ChatInput(messages=(Message(role="user", content=(TextPart(text),)),), template_options=options or {})
    return GenerateRequest(id=id, input=input or chat, n=n, constraint=constraint, sampling=SamplingParams(**sampling))


def answer(engine, request, **model):
    """All events of `request`, on an engine that is closed afterwards."""

    async def main():
        whole = assembled(engine, **model)
        try:
            return [event async for event in whole.generate(request)]
        finally:
            await whole.close()

    return asyncio.run(main())


def text(events, kind=TextDelta, choice=0):
    return "".join(event.text for event in events if isinstance(event, kind) and event.choice == choice)


def prompt(engine):
    (segment,) = engine.submitted[-1].prompt
    assert isinstance(segment, TokenSegment)
    return bytes(token for token in segment.tokens if token < 256).decode()


async def until(condition):
    """For what a worker thread brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the fake engine has no event for it
            await asyncio.sleep(0.001)


def test_a_conversation_is_answered_in_order():
    events = answer(FakeTokenEngine(script=says("Hello!")), ask("hi"))

    assert isinstance(events[0], Started)
    assert text(events) == "Hello!"
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].stop) == ("stop", None)
    assert {event.request_id for event in events} == {5}


def test_usage_counts_prompt_and_answer():
    engine = FakeTokenEngine(script=says("Hello!"))
    *_, finished = answer(engine, ask("hi"))

    assert finished.usage.prompt_tokens == len(engine.submitted[0].prompt[0].tokens)
    assert finished.usage.completion_tokens == len("Hello!") + 1  # the end token was sampled too
    assert finished.usage.cached_tokens == 0


def test_an_engine_that_knows_nothing_of_caching_reports_none():
    events = answer(FakeTokenEngine(capabilities=Capabilities()), ask(max_tokens=2))

    assert events[0].cached_tokens is None
    assert events[-1].usage.cached_tokens is None


@pytest.mark.parametrize(
    ("input", "read"), [(TextInput(text="Once upon"), "Once upon"), (TokensInput(tokens=(65, 66)), "AB")]
)
def test_text_and_tokens_are_continued_as_they_are(input, read):
    engine = FakeTokenEngine(script=says("x"))
    answer(engine, ask(input=input))

    assert prompt(engine) == read


async def test_everything_of_a_step_is_one_delta_and_one_call():
    """The event loop is woken once a step, and a reader who comes late gets one delta."""

    engine = FakeTokenEngine(script=says("abcdef"), manual=True)
    whole = assembled(engine)
    async with aclosing(whole.generate(ask())) as events:
        first = asyncio.ensure_future(anext(events))
        await until(lambda: engine.submitted)
        engine.step()
        assert isinstance(await first, Started)
        assert (await anext(events)).text == "a"
        engine.step()
        engine.step()
        await asyncio.sleep(0)
        assert (await anext(events)).text == "bc"
    await whole.close()


async def test_a_stop_string_ends_the_answer_and_frees_its_place_at_once():
    """Even while nobody reads."""

    engine = FakeTokenEngine(script=says("one STOP two three"), manual=True)
    whole = assembled(engine)
    async with aclosing(whole.generate(ask(stop=("STOP",)))) as stream:
        first = asyncio.ensure_future(anext(stream))
        await until(lambda: engine.submitted)
        for _ in range(8):
            engine.step()
        await first
        await asyncio.sleep(0)
        assert engine.cancelled == [(1, 0)]
        assert engine.stats().n_running == 0
        events = [event async for event in stream]
    assert text(events) == "one "
    assert (events[-1].reason, events[-1].stop) == ("stop", "STOP")
    assert events[-1].usage.completion_tokens == len("one STOP")
    assert engine.cancelled == [(1, 0)]
    await whole.close()


def test_the_models_own_stop_strings_hold_where_the_request_has_none():
    for parameters in ({"stop": "!"}, {"stop": ["!"]}):
        assert text(answer(FakeTokenEngine(script=says("Hello! No")), ask(), parameters=parameters)) == "Hello"
    asked = answer(FakeTokenEngine(script=says("Hello! No")), ask(stop=("o",)), parameters={"stop": "!"})
    assert text(asked) == "Hell"


def test_each_choice_has_its_own_text_and_end():
    scripts = {0: "short", 1: "much longer than that", 2: "stop here"}
    engine = FakeTokenEngine(script=lambda request, choice: list(scripts[choice].encode()))
    events = answer(engine, ask(n=3, stop=(" here",)))

    assert [text(events, choice=choice) for choice in range(3)] == ["short", scripts[1], "stop"]
    ends = {event.choice: event.stop for event in events if isinstance(event, Finished)}
    assert ends == {0: None, 1: None, 2: " here"}


@pytest.mark.parametrize(("wanted", "given"), [(None, 40), (7, 7), (70, 40)])
def test_max_tokens_is_never_more_than_the_room_that_is_left(wanted, given):
    engine = FakeTokenEngine(facts=ModelFacts(n_ctx=100), script=says("x"))
    answer(engine, ask(input=TextInput(text="a" * 60), max_tokens=wanted))

    assert engine.submitted[-1].max_tokens == given


@pytest.mark.parametrize(("wanted", "told"), [(None, None), (40, None), (41, 40)])
def test_a_limit_that_had_to_be_lowered_is_told(wanted, told):
    engine = FakeTokenEngine(facts=ModelFacts(n_ctx=100), script=says("x"))
    started, *_ = answer(engine, ask(input=TextInput(text="a" * 60), max_tokens=wanted))

    assert (started.max_tokens, started.n_dropped) == (told, 0)


def test_a_conversation_that_is_too_long_loses_its_oldest_turns_where_that_is_asked_for():
    roles = ("user", "assistant") * 5
    messages = tuple(Message(role=role, content=(TextPart(f"{n}" * 20),)) for n, role in enumerate((*roles, "user")))
    engine = FakeTokenEngine(facts=ModelFacts(n_ctx=200), script=says("x"))
    asked = msgspec.structs.replace(ask(input=ChatInput(messages=messages), max_tokens=50), truncate=True)
    started, *_ = answer(engine, asked)

    assert started.n_dropped > 0
    assert started.n_dropped % 2 == 0
    assert started.prompt_tokens <= 150
    assert started.max_tokens is None
    with pytest.raises(ContextLengthExceeded):
        answer(engine, msgspec.structs.replace(asked, truncate=False))


def test_a_last_turn_that_is_too_long_is_refused_all_the_same():
    with pytest.raises(ContextLengthExceeded):
        answer(FakeTokenEngine(facts=ModelFacts(n_ctx=60)), msgspec.structs.replace(ask("a" * 60), truncate=True))


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers():
    with pytest.raises(ContextLengthExceeded) as caught:
        answer(FakeTokenEngine(facts=ModelFacts(n_ctx=60)), ask(input=TextInput(text="a" * 60)))

    assert (caught.value.n_prompt, caught.value.n_ctx, caught.value.param) == (60, 60, "prompt")


def test_a_conversation_that_leaves_no_room_names_its_field():
    with pytest.raises(ContextLengthExceeded) as caught:
        answer(FakeTokenEngine(facts=ModelFacts(n_ctx=60)), ask("a" * 60))

    assert caught.value.param == "messages"


def test_what_the_engine_lacks_is_refused_by_name():
    image = ChatInput(messages=(Message(role="user", content=(ImagePart(data=b"x"),)),))
    with pytest.raises(UnsupportedParameter) as caught:
        answer(FakeTokenEngine(), ask(input=image))

    assert caught.value.param == "messages[0].content[0]"


def test_a_token_outside_the_vocabulary_cannot_be_biased():
    with pytest.raises(BadRequest) as caught:
        answer(FakeTokenEngine(), ask(logit_bias={999: 1.0}))

    assert caught.value.param == "logit_bias"


def test_capabilities_are_the_engines_and_cores():
    whole = assembled(FakeTokenEngine())

    assert whole.capabilities.inputs == {"chat", "text", "tokens"}
    assert "json_object" in whole.capabilities.constraints
    assert whole.capabilities.protocols == {"tokenize"}
    assert whole.capabilities.max_choices == 4
    assert not whole.capabilities.reasoning
    assert whole.capabilities.tools


async def test_closing_the_stream_cancels_in_the_engine():
    engine = FakeTokenEngine(manual=True)
    whole = assembled(engine)
    stream = whole.generate(ask())
    first = asyncio.ensure_future(anext(stream))
    await until(lambda: engine.submitted)
    engine.step()
    await first
    await stream.aclose()
    assert engine.cancelled == [(1, None)]
    await whole.close()


async def test_closing_while_it_waits_in_the_queue_cancels_in_the_engine():
    engine = FakeTokenEngine(manual=True)
    whole = assembled(engine)
    waiting = asyncio.ensure_future(anext(whole.generate(ask())))
    await until(lambda: engine.submitted)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert engine.cancelled == [(1, None)]
    assert engine.stats().n_waiting == 0
    await whole.close()


async def test_closing_while_its_prompt_is_rendered_submits_nothing():
    rendering, go_on = threading.Event(), threading.Event()

    class Slow(ByteTokenizer):
        def encode(self, text, *, special):
            rendering.set()
            go_on.wait(10)
            return super().encode(text, special=special)

    engine = FakeTokenEngine(tokenizer=Slow(), manual=True)
    whole = assembled(engine)
    waiting = asyncio.ensure_future(anext(whole.generate(ask())))
    await until(rendering.is_set)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    go_on.set()
    await asyncio.sleep(0.01)
    assert engine.submitted == []
    await whole.close()


def test_the_event_loop_turns_while_a_prompt_is_rendered():
    go_on = threading.Event()

    class Slow(ByteTokenizer):
        def encode(self, text, *, special):
            assert go_on.wait(10), "the loop could not set this"
            return super().encode(text, special=special)

    async def main():
        whole = assembled(FakeTokenEngine(tokenizer=Slow(), script=says("x")))
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        events = [event async for event in whole.generate(ask())]
        await whole.close()
        return events

    assert text(asyncio.run(main())) == "x"


def test_a_break_before_the_first_event_is_raised():
    class Refusing(FakeTokenEngine):
        def submit(self, request):
            self._sink([Broken(request.id, Overloaded("Too much."))])

    with pytest.raises(Overloaded, match="Too much"):
        answer(Refusing(), ask())


def test_a_break_after_the_first_event_is_a_failed_event():
    events = answer(FakeTokenEngine(fault=Overloaded("Too much.", hint="Wait.")), ask())

    assert isinstance(events[-1], Failed)
    assert (events[-1].message, events[-1].code, events[-1].status) == ("Too much.", "overloaded", 503)
    assert events[-1].hint == "Wait."
    assert events[-1].choice is None


def test_an_error_nobody_foresaw_is_named_too():
    events = answer(FakeTokenEngine(fault=ZeroDivisionError("by zero")), ask())

    assert "ZeroDivisionError: by zero" in events[-1].message
    assert events[-1].status == 500


def test_a_dialect_that_breaks_fails_its_request_only():
    class Careless(Dialect):
        reasoning, n_held = True, 0

        def recognises(self, template):
            return True

        def parser(self, prompt_tail, tools):
            return self

        def feed(self, text):
            raise RuntimeError("dialect")

    async def main():
        engine = FakeTokenEngine(script=says("x"))
        whole = assemble(engine, MODEL, dialects=[Careless()])
        failed = [event async for event in whole.generate(ask())]
        fine = [event async for event in whole.generate(ask(input=TextInput(text="x")))]
        await whole.close()
        return failed, fine

    failed, fine = asyncio.run(main())
    assert isinstance(failed[-1], Failed)
    assert "RuntimeError: dialect" in failed[-1].message
    assert text(fine) == "x"


async def test_closing_the_engine_ends_every_request():
    whole = assembled(FakeTokenEngine(manual=True))
    waiting = asyncio.ensure_future(anext(whole.generate(ask())))
    await until(lambda: whole.stats().n_waiting)
    await whole.close()
    with pytest.raises(AiAdminError, match="closed"):
        await waiting
    with pytest.raises(AiAdminError, match="closed"):
        await anext(whole.generate(ask()))


async def test_closing_waits_for_prompts_that_are_being_tokenised_though_nobody_waits_for_them():
    """A native tokenizer is freed with its model."""
    entered, go_on = threading.Event(), threading.Event()

    class Slow(ByteTokenizer):
        def encode(self, text, *, special):
            if text == "slow":
                entered.set()
                assert go_on.wait(10)
                assert not engine.closed
            return super().encode(text, special=special)

    engine = FakeTokenEngine(tokenizer=Slow())

    whole = assembled(engine)
    tokenizing = asyncio.create_task(whole.tokenize("slow"))
    await until(entered.is_set)
    tokenizing.cancel()
    await asyncio.wait({tokenizing})
    closing = asyncio.create_task(whole.close())
    await asyncio.sleep(0.05)
    assert not engine.closed
    go_on.set()
    await closing
    assert engine.closed
    with pytest.raises(EngineStopped):
        await whole.tokenize("more")


async def test_the_token_engines_own_protocols_are_passed_through(tmp_path):
    class Able(FakeTokenEngine):
        async def embed(self, inputs, *, truncate=False):
            self.truncate = truncate
            return Vectors(data=b"floats", n_dims=2, n_tokens=tuple(map(len, inputs)))

        async def score(self, query, documents, *, truncate=False):
            return Scores(data=b"floats", n_tokens=tuple(map(len, documents)))

        async def load_adapter(self, digest, path):
            self.adapter = (digest, path)

    engine = Able(capabilities=Capabilities(protocols=frozenset({"embed", "score", "adapters"})))

    whole = assembled(engine)
    assert whole.capabilities.protocols == {"tokenize", "embed", "score", "adapters"}
    assert (await whole.embed(["abc"], truncate=True)).n_tokens == (3,)
    assert engine.truncate
    assert (await whole.score("a", ["abc", "b"])).n_tokens == (3, 1)
    await whole.load_adapter("sha256:0", tmp_path)
    assert engine.adapter == ("sha256:0", tmp_path)
    await whole.close()


async def test_a_dialect_that_cannot_look_at_a_template_is_passed_over():
    class Broken:
        def recognises(self, template):
            raise ZeroDivisionError

    spec = ModelSpec(name="fake", digest="", format="other", files=(), template=THINKING)
    whole = assemble(FakeTokenEngine(), spec, dialects=[Broken()])
    assert whole.capabilities.reasoning
    await whole.close()


async def test_events_of_a_closed_request_do_not_reach_one_that_uses_its_id_again():
    engine = FakeTokenEngine(script=says("abc"), manual=True)
    whole = assembled(engine)
    first = whole.generate(ask(id=1))
    started = asyncio.ensure_future(anext(first))
    await until(lambda: engine.submitted)
    engine.step()
    await started
    await first.aclose()
    second = asyncio.ensure_future(anext(whole.generate(ask(id=1))))
    await until(lambda: len(engine.submitted) == 2)
    assert engine.submitted[0].id != engine.submitted[1].id
    second.cancel()
    await whole.close()


def test_log_probabilities_are_reported_where_they_are_asked_for():
    asked = answer(FakeTokenEngine(script=says("ab")), ask(logprobs=2))
    tokens = [token for event in asked if isinstance(event, TextDelta) for token in event.logprobs]

    assert [(token.bytes, token.logprob, len(token.top)) for token in tokens] == [(b"a", -0.5, 2), (b"b", -0.5, 2)]
    unasked = answer(FakeTokenEngine(script=says("ab")), ask())
    assert not any(event.logprobs for event in unasked if isinstance(event, TextDelta))


def test_json_mode_gives_an_object():
    *events, finished = answer(FakeTokenEngine(script=says('{"a": [1, 2]} and more')), ask(constraint=JsonObject()))

    assert text(events) == '{"a": [1, 2]}'
    assert finished.reason == "stop"


def test_a_schema_that_cannot_be_enforced_is_refused_before_anything_is_decoded():
    engine = FakeTokenEngine()
    with pytest.raises(BadRequest, match="uniqueItems"):
        answer(engine, ask(constraint=JsonSchema(schema={"type": "array", "uniqueItems": True})))
    assert engine.submitted == []


def test_a_format_has_an_end():
    with pytest.raises(BadRequest, match="ignore_eos"):
        answer(FakeTokenEngine(), ask(constraint=JsonObject(), ignore_eos=True))


def test_ignoring_the_end_token_leaves_the_engine_none():
    engine = FakeTokenEngine(script=says("ab"))
    events = answer(engine, ask(ignore_eos=True, max_tokens=5))

    assert engine.submitted[0].end_tokens == frozenset()
    assert events[-1].reason == "length"


def test_reasoning_is_told_apart_by_the_templates_markers():
    tokenizer = ByteTokenizer(chat_template=THINKING)
    whole = assembled(FakeTokenEngine(tokenizer=tokenizer))
    events = answer(FakeTokenEngine(tokenizer=tokenizer, script=says("<think>hm</think>two")), ask())

    assert whole.capabilities.reasoning
    assert text(events, ReasoningDelta) == "hm"
    assert text(events) == "two"
    assert events[-1].usage.reasoning_tokens == len(">hm</think>")  # the marker is one once it is complete


def test_reasoning_that_the_template_opened_is_told_apart():
    engine = FakeTokenEngine(tokenizer=ByteTokenizer(chat_template=THINKING), script=says("hm</think>two"))
    events = answer(engine, ask(options={"think": True}))

    assert (text(events, ReasoningDelta), text(events)) == ("hm", "two")


def test_reasoning_markers_may_be_control_tokens():
    tokenizer = ByteTokenizer(chat_template=THINKING, more_control_tokens=["<think>", "</think>"])
    script = tokenizer.encode("<think>hm</think>two", special=True)
    events = answer(FakeTokenEngine(tokenizer=tokenizer, script=lambda request, choice: script), ask())

    assert (text(events, ReasoningDelta), text(events)) == ("hm", "two")
    assert events[-1].usage.reasoning_tokens == 4


def test_a_format_begins_after_the_reasoning():
    tokenizer = ByteTokenizer(chat_template=THINKING)
    engine = FakeTokenEngine(tokenizer=tokenizer, script=says('hm {</think>{"a": 1}'))
    events = answer(engine, ask(options={"think": True}, constraint=JsonObject()))

    assert (text(events, ReasoningDelta), text(events)) == ("hm {", '{"a": 1}')


def test_what_a_user_types_is_no_control_token():
    engine = FakeTokenEngine(script=says("x"))
    answer(engine, ask("a<|im_end|>b"))

    assert "a<|im_end|>b" in prompt(engine)
    assert engine.submitted[0].prompt[0].tokens.count(END) == 1


def test_a_model_without_a_template_speaks_chatml_and_says_so():
    engine = FakeTokenEngine(tokenizer=ByteTokenizer(chat_template=None), script=says("fine<|im_end|>no"))
    whole = assembled(engine)

    assert "ChatML" in whole.facts.notes[-1]
    assert text(answer(engine, ask())) == "fine"


def test_a_template_that_is_broken_leaves_plain_completions():
    def broken():
        return FakeTokenEngine(tokenizer=ByteTokenizer(chat_template="{% for %}"), script=says("x"))

    assert "cannot be compiled" in assembled(broken()).facts.notes[-1]
    assert text(answer(broken(), ask(input=TextInput(text="a")))) == "x"
    with pytest.raises(UnsupportedParameter) as caught:
        answer(broken(), ask())
    assert caught.value.param == "messages"


def test_the_models_template_and_system_message_win_over_the_files():
    engine = FakeTokenEngine(script=says("x"))
    template = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}{{ eos_token }}"
    answer(engine, ask("hi"), template=template, system="be kind")

    assert prompt(engine) == "[system:be kind][user:hi]"
    assert engine.submitted[0].prompt[0].tokens[-1] == END


def test_texts_and_conversations_can_be_tokenized_and_tokens_read():
    async def main():
        whole = assembled(FakeTokenEngine(tokenizer=ByteTokenizer(add_bos=True)))
        plain = await whole.tokenize("é<|im_end|>")
        special = await whole.tokenize("é<|im_end|>", special=True)
        chat = await whole.tokenize(ask("hi"))
        read = [b"".join(await whole.pieces(tokens)).decode() for tokens in (plain, special, chat)]
        with pytest.raises(BadRequest):
            await whole.pieces([999])
        with pytest.raises(UnsupportedParameter):
            await whole.tokenize(ask("hi", n=99))
        around = [await whole.tokenize("a", around=around) for around in (True, False)]
        assert around == [[BOS, 97], [97]]
        return plain, special, read

    plain, special, read = asyncio.run(main())
    assert len(plain) == 2 + len("<|im_end|>")
    assert special == [*"é".encode(), END]
    assert read == [
        "é<|im_end|>",
        "é<|im_end|>",
        "<|endoftext|><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    ]


def test_the_engine_serves_one_loop_after_another():
    engine = FakeTokenEngine(script=says("x"))
    whole = assembled(engine)

    async def main():
        return [event async for event in whole.generate(ask())]

    assert text(asyncio.run(main())) == text(asyncio.run(main())) == "x"
    asyncio.run(whole.close())


def test_reasoning_dialects_of_plugins_come_first():
    tokenizer = ByteTokenizer(chat_template=THINKING)
    engine = FakeTokenEngine(tokenizer=tokenizer, script=says("[hm]two"))

    async def main():
        whole = assemble(engine, MODEL, dialects=[MarkedReasoning("mine", "[", "]")])
        events = [event async for event in whole.generate(ask())]
        await whole.close()
        return events

    assert text(asyncio.run(main())) == "two"


async def test_a_model_that_only_reads_is_not_said_to_chat():
    engine = FakeTokenEngine(capabilities=Capabilities(generates=False, protocols=frozenset({"embed"})))

    whole = assembled(engine)
    assert whole.capabilities == Capabilities(generates=False, protocols=frozenset({"embed", "tokenize"}))
    with pytest.raises(UnsupportedParameter, match="generates no text"):
        await anext(whole.generate(ask()))
    await whole.close()


def test_texts_that_break_repetitions_are_found_in_the_vocabulary_for_requests_with_dry_alone():
    sampling = frozenset({"dry_multiplier", "dry_sequence_breakers"})
    able = Capabilities(inputs=frozenset({"text"}), sampling=sampling)
    engine, other = (FakeTokenEngine(script=says("x"), capabilities=able) for _ in range(2))

    answer(engine, ask(dry_multiplier=0.8, dry_sequence_breakers=("\n", "ab")))
    (breakers,) = (request.breakers for request in engine.submitted)
    assert breakers is not None
    assert breakers.heads.nonzero()[0].tolist() == [ord("\n"), ord("a")]
    assert breakers.tails == {ord("a"): ((ord("b"),),)}

    answer(other, ask())
    assert other.submitted[-1].breakers is None
