"""Chunks to events."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from aiadmin_core.errors import AiAdminError, UnsupportedParameter
from aiadmin_core.specs.events import (
    Alternative,
    Event,
    Failed,
    Finished,
    PromptScored,
    PromptToken,
    ReasoningDelta,
    Started,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from aiadmin_core.specs.request import GenerateRequest
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_openai.answer import UpstreamAnswer, share
from aiadmin_openai.failures import StreamBroken

Ask = Callable[..., GenerateRequest]


def play(request: GenerateRequest, *chunks: Any, why: str | None = None) -> list[Event]:
    answer = UpstreamAnswer(request, "10.0.0.5:8000", clock=iter(range(1000)).__next__)
    events = [event for chunk in chunks for event in answer.read(json.dumps(chunk).encode())]
    return events + (answer.end() if why is None else answer.end(why))


def choice(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_a_text_with_its_usage(ask: Ask) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }

    events = play(
        ask(),
        choice(role="assistant", content=""),
        choice(reasoning_content="Hm."),
        choice(content="Hel", refusal=None),
        choice(content="lo"),
        choice(finish="length"),
        {"choices": [], "usage": usage},
    )

    assert events[:-1] == [ReasoningDelta(1, "Hm."), TextDelta(1, "Hel"), TextDelta(1, "lo")]
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.choice) == ("length", 0)
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (9, 4)
    assert (last.usage.cached_tokens, last.usage.reasoning_tokens) == (8, 1)
    assert last.usage.prefill_s > 0
    assert last.usage.decode_s > 0


def test_a_request_has_started_where_the_upstream_has_counted_its_prompt(ask: Ask) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 8}}

    events = play(ask(), choice(content="a") | {"usage": usage}, choice(content="b", finish="stop"))

    assert events[:3] == [Started(1, 9, 8), TextDelta(1, "a"), TextDelta(1, "b")]


def test_reasoning_by_its_other_name_and_a_refusal(ask: Ask) -> None:
    events = play(ask(), choice(reasoning="Hm."), choice(refusal="No."), choice(reasoning={"a": 1}, finish="stop"))

    assert events[:2] == [ReasoningDelta(1, "Hm."), TextDelta(1, "No.")]
    assert len(events) == 3


def test_an_answer_without_text_is_an_answer(ask: Ask) -> None:
    events = play(ask(), choice(role="assistant"), choice(finish="stop"))

    assert [type(event) for event in events] == [Finished]


def test_a_body_that_was_not_streamed(ask: Ask) -> None:
    message = {"role": "assistant", "content": "Hello", "tool_calls": None}

    events = play(ask(), {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    assert events[0] == TextDelta(1, "Hello")
    assert isinstance(events[1], Finished)


def test_tool_calls_say_id_and_name_once(ask: Ask) -> None:
    events = play(
        ask(),
        choice(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]),
        choice(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}]),
        choice(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "id": "c2", "function": None}]),
        choice(finish="tool_calls"),
    )

    assert events[:-1] == [
        ToolCallDelta(1, 0, 0, "c1", "f", ""),
        ToolCallDelta(1, 0, 0, None, None, '{"a"'),
        ToolCallDelta(1, 0, 0, None, None, ":1}"),
        ToolCallDelta(1, 1, 0, "c2", None, ""),
    ]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"


def test_tool_calls_without_an_index_are_told_apart_by_their_ids(ask: Ask) -> None:
    def call(id: str | None) -> dict[str, Any]:
        return choice(tool_calls=[{"id": id, "function": {"name": "f", "arguments": "{}"}}])

    events = play(ask(), call("c1"), call(None), call("c2"), call("c2"), choice(finish="function_call"))

    assert [event.index for event in events if isinstance(event, ToolCallDelta)] == [0, 0, 1, 1]


def test_choices_share_the_usage_by_their_deltas(ask: Ask) -> None:
    events = play(
        ask(n=2),
        choice(0, content="a"),
        choice(1, content="b"),
        choice(1, content="c"),
        choice(1, finish="stop"),
        choice(0, finish="stop"),
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
    )

    finished = [event for event in events if isinstance(event, Finished)]
    assert [(event.choice, event.usage.completion_tokens, event.usage.prompt_tokens) for event in finished] == [
        (0, 2, 5),
        (1, 5, 5),
    ]


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [(7, [1, 2], [2, 5]), (7, [0, 0], [4, 3]), (0, [1, 1], [0, 0]), (10, [1, 1, 1], [4, 3, 3]), (2, [5], [2])],
)
def test_shares_add_up(total: int, weights: list[int], shares: list[int]) -> None:
    assert share(total, weights) == shares


def test_without_usage_the_deltas_are_counted(ask: Ask) -> None:
    last = play(ask(), choice(content="a"), choice(content="b"), choice(finish="stop"))[-1]

    assert isinstance(last, Finished)
    assert (last.usage.completion_tokens, last.usage.cached_tokens) == (2, None)


def test_the_stop_string_that_ended_it(ask: Ask) -> None:
    def end(stop_reason: Any) -> Event:
        chunk = {"choices": [{"index": 0, "text": "a", "finish_reason": "stop", "stop_reason": stop_reason}]}
        return play(ask(sampling=SamplingParams(stop=("\n",))), chunk)[-1]

    assert [getattr(end(reason), "stop", "") for reason in ("\n", 2, None)] == ["\n", None, None]


def test_log_probabilities_of_a_chat(ask: Ask) -> None:
    item = {
        "token": "\ufffd",
        "bytes": [195],
        "logprob": -0.5,
        "id": 7,
        "top_logprobs": [{"token": "a", "logprob": -1.0, "bytes": None}],
    }
    chunk = {"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [item]}}]}

    event = play(ask(), chunk)[0]

    assert event == TextDelta(1, "x", 0, (TokenLogprob(7, b"\xc3", -0.5, (Alternative(-1, b"a", -1.0),)),))


def test_log_probabilities_of_a_token_that_is_no_character_yet_are_kept(ask: Ask) -> None:
    chunk = {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "a", "logprob": -1}]}}]}

    assert play(ask(), chunk)[0] == TextDelta(1, "", 0, (TokenLogprob(-1, b"a", -1.0),))


def test_log_probabilities_of_a_completion(ask: Ask) -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -1.0}], "text_offset": [0]}

    event = play(ask(), {"choices": [{"text": "a", "logprobs": logprobs}]})[0]

    assert event == TextDelta(1, "a", 0, (TokenLogprob(-1, b"a", -0.5, (Alternative(-1, b"b", -1.0),)),))


def test_pieces_of_characters_in_a_completion_are_read_from_their_spelling(ask: Ask) -> None:
    tops = [{"bytes:\\xf0\\x9f": -1.0, "bytes:": -2.0}]
    logprobs = {"tokens": ["bytes:\\x99"], "token_logprobs": [-0.5], "top_logprobs": tops, "text_offset": [0]}

    event = play(ask(), {"choices": [{"text": "", "logprobs": logprobs}]})[0]

    assert event.logprobs[0].bytes == b"\x99"
    assert [other.bytes for other in event.logprobs[0].top] == [b"\xf0\x9f", b"bytes:"]


def test_a_choice_that_is_missing_is_not_passed_over(ask: Ask) -> None:
    """Some servers ignore `n`."""
    last = play(ask(n=2), choice(content="a"), choice(finish="stop"))[-2:]

    assert isinstance(last[0], Finished)
    assert isinstance(last[1], Failed)
    assert (last[1].choice, last[1].status) == (1, 502)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_choice_the_upstream_gave_up_has_failed(ask: Ask, reason: str) -> None:
    last = play(ask(), choice(content="a"), choice(finish=reason))[-1]

    assert isinstance(last, Failed)
    assert reason in last.message


def test_a_stream_cut_off_has_failed_and_says_where(ask: Ask) -> None:
    last = play(ask(), choice(content="a"), why="the connection broke")[-1]

    assert isinstance(last, Failed)
    assert last.message == "10.0.0.5:8000, which serves this model, failed: the connection broke."
    assert (last.choice, last.status) == (None, 502)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"[]",
        b'{"choices": [{"index": 1, "delta": {}}]}',
        b'{"choices": [{"index": -1, "delta": {}}]}',
        b'{"choices": [{"delta": {"content": 7}}]}',
        b'{"choices": [{"delta": {"content": "\xff"}}]}',
        b'{"choices": [{"text": "a", "logprobs": {"tokens": ["a"]}}]}',
        b'{"choices": [{"delta": {}, "logprobs": {"content": [{"bytes": [999]}]}}]}',
        b'{"error": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_chunk_breaks_the_stream(ask: Ask, payload: bytes) -> None:
    with pytest.raises(StreamBroken):
        UpstreamAnswer(ask(), "host").read(payload)


@pytest.mark.parametrize(
    ("payload", "status", "code"),
    [
        ({"error": {"message": "boom", "code": "runner_died", "status": 502}}, 502, "runner_died"),
        ({"error": {"message": "boom", "code": 400}}, 400, "upstream_error"),
        ({"error": {"message": "boom", "code": None}}, 502, "upstream_error"),
        ({"object": "error", "message": "boom", "code": 429}, 429, "rate_limit_exceeded"),
        ({"error": "boom"}, 502, "upstream_error"),
        ({"error": {"message": "boom", "type": "invalid_request_error", "code": "bad_n"}}, 400, "bad_n"),
    ],
)
def test_an_error_event_is_an_error(ask: Ask, payload: Any, status: int, code: str) -> None:
    with pytest.raises(AiAdminError, match="boom") as caught:
        UpstreamAnswer(ask(), "host").read(json.dumps(payload).encode())

    assert (caught.value.status, caught.value.code) == (status, code)


def scored(ask: Ask, *, n_prompt: int, values: list[float | None], **fields: Any) -> list[Event]:
    tokens = ["<s>", "a", "bytes:\\xc3", "bytes:\\xa9"][: len(values)]
    logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": [None, *[{"z": -9.0}] * (len(values) - 1)]}
    usage = {"prompt_tokens": n_prompt, "completion_tokens": len(values) - n_prompt}
    whole = {"index": 0, "text": "a\u00e9", "logprobs": logprobs, "finish_reason": "length"}
    return play(ask(score_prompt=True, **fields), {"choices": [whole], "usage": usage})


def test_a_scored_prompt_ends_where_the_usage_says(ask: Ask) -> None:
    told, started, delta, finished = scored(ask, n_prompt=2, values=[None, -1.0, -2.0, -3.0])

    top = (Alternative(-1, b"z", -9.0),)
    assert told == PromptScored(1, (PromptToken(-1, b"<s>"), PromptToken(-1, b"a", -1.0, top)))
    assert isinstance(started, Started)
    assert started.prompt_tokens == 2
    assert isinstance(delta, TextDelta)
    assert (delta.text, [one.logprob for one in delta.logprobs]) == ("\u00e9", [-2.0, -3.0])
    assert isinstance(finished, Finished)
    assert finished.usage.completion_tokens == 2


def test_a_prompt_that_is_only_read_has_no_answer(ask: Ask) -> None:
    told, _, finished = scored(ask, n_prompt=2, values=[None, -1.0], reads_only=True)
    assert isinstance(told, PromptScored)
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.completion_tokens) == ("length", 0)


@pytest.mark.parametrize(("n_prompt", "values"), [(9, [None, -1.0]), (1, [-1.0, -2.0]), (0, [None])])
def test_a_server_that_does_not_score_prompts_is_refused_by_name(
    ask: Ask, n_prompt: int, values: list[float | None]
) -> None:
    """It left `echo` out, and gave the answer alone."""
    with pytest.raises(UnsupportedParameter) as caught:
        scored(ask, n_prompt=n_prompt, values=values)
    assert caught.value.param == "score_prompt"
