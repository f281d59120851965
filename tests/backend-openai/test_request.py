"""Requests as OpenAI JSON."""

from collections.abc import Callable
from typing import Any

import pytest

from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex
from aiadmin_core.specs.content import (
    AudioPart,
    ImagePart,
    Message,
    Part,
    TextPart,
    Tool,
    ToolCall,
    ToolResultPart,
)
from aiadmin_core.specs.request import (
    Adapter,
    ChatInput,
    GenerateRequest,
    TextInput,
    TokensInput,
    ToolChoice,
)
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_openai.request import to_openai

Ask = Callable[..., GenerateRequest]


def body(request: GenerateRequest, **options: Any) -> dict[str, Any]:
    return to_openai(request, model="llama3", **options)[1]


def messages(*turns: Message, system: str | None = None) -> Any:
    return body(GenerateRequest(id=1, input=ChatInput(messages=turns)), system=system)["messages"]


def test_what_was_not_asked_for_is_not_sent(ask: Ask) -> None:
    """So that the upstream's own defaults hold."""
    path, sent = to_openai(ask("Hi"), model="llama3")

    assert path == "/chat/completions"
    assert sent == {
        "model": "llama3",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_sampling_field_is_sent(ask: Ask) -> None:
    sampling = SamplingParams(
        temperature=0,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        typical_p=0.9,
        xtc_probability=0.5,
        xtc_threshold=0.2,
        mirostat=2,
        mirostat_tau=4.0,
        mirostat_eta=0.2,
        dry_multiplier=0.8,
        dry_base=2.0,
        dry_allowed_length=3,
        dry_penalty_last_n=-1,
        dry_sequence_breakers=("\n",),
        frequency_penalty=1,
        presence_penalty=-1,
        repeat_penalty=1.1,
        repeat_last_n=8,
        logit_bias={7: -100.0},
        seed=3,
        max_tokens=9,
        stop=("\n",),
        logprobs=2,
        ignore_eos=True,
    )
    assert all(getattr(sampling, name) != getattr(SamplingParams(), name) for name in sampling.__struct_fields__)

    sent = body(ask(sampling=sampling))

    fields = set(sampling.__struct_fields__)
    assert {name: sent[name] for name in fields} == {
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 4,
        "min_p": 0.1,
        "typical_p": 0.9,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.2,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
        "dry_multiplier": 0.8,
        "dry_base": 2.0,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": -1,
        "dry_sequence_breakers": ("\n",),
        "frequency_penalty": 1,
        "presence_penalty": -1,
        "repeat_penalty": 1.1,
        "repeat_last_n": 8,
        "logit_bias": {"7": -100.0},
        "seed": 3,
        "max_tokens": 9,
        "stop": ["\n"],
        "logprobs": True,
        "ignore_eos": True,
    }
    assert sent["top_logprobs"] == 2


def test_the_field_of_max_tokens_is_the_models(ask: Ask) -> None:
    sent = body(ask(sampling=SamplingParams(max_tokens=9)), max_tokens_field="max_completion_tokens")

    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (9, False)


def test_the_rest_of_a_request_is_sent(ask: Ask) -> None:
    sent = body(ask(n=3, reasoning_effort="low", priority=2, cache_salt="me"))

    assert (sent["n"], sent["reasoning_effort"], sent["priority"], sent["cache_salt"]) == (3, "low", 2, "me")


def test_unknown_fields_go_along_and_do_not_take_the_place_of_known_ones(ask: Ask) -> None:
    sent = body(ask(extra={"smoothing_factor": 2, "nested": {"a": [1]}, "model": "other", "stream": False}))

    assert (sent["smoothing_factor"], sent["nested"], sent["model"], sent["stream"]) == (2, {"a": [1]}, "llama3", True)


@pytest.mark.parametrize(
    ("constraint", "field", "value"),
    [
        (JsonObject(), "response_format", {"type": "json_object"}),
        (
            JsonSchema(schema={"type": "object"}, name="a", strict=False),
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": False}},
        ),
        (
            JsonSchema(schema=True),
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "schema", "schema": {}, "strict": True}},
        ),
        (Regex("a+"), "structured_outputs", {"regex": "a+"}),
        (Choice(("a", "b")), "structured_outputs", {"choice": ["a", "b"]}),
        (LarkGrammar("start: /a/"), "structured_outputs", {"grammar": "start: /a/"}),
    ],
)
def test_constraints(constraint: Constraint, field: str, value: Any, ask: Ask) -> None:
    assert body(ask(constraint=constraint))[field] == value


WEATHER = Tool(name="weather", description="Tells it.", parameters={"type": "object"}, strict=True)
NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        (ToolChoice(), {}),
        (ToolChoice(mode="none"), {"tool_choice": "none"}),
        (ToolChoice(mode="required"), {"tool_choice": "required"}),
        (ToolChoice(mode="required", names=("weather",), parallel=False), {"tool_choice": NAMED}),
        (
            ToolChoice(mode="auto", names=("weather",), parallel=False),
            {
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
def test_tools_and_their_choice(choice: ToolChoice, fields: dict[str, Any]) -> None:
    turns = (Message(role="user", content=(TextPart("Hi"),)),)
    chat = ChatInput(messages=turns, tools=(WEATHER, Tool(name="bare")), template_options={"think": False})

    sent = body(GenerateRequest(id=1, input=chat, tool_choice=choice))

    assert sent["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells it.",
                "parameters": {"type": "object"},
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "bare"}},
    ]
    assert {name: sent[name] for name in sent if name in ("tool_choice", "parallel_tool_calls")} == fields
    assert sent["chat_template_kwargs"] == {"think": False}


@pytest.mark.parametrize(
    ("part", "wire"),
    [
        (
            ImagePart(data=b"\x00\xff", media_type="image/jpeg", detail="low"),
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AP8=", "detail": "low"}},
        ),
        (ImagePart(url="https://x/y.png"), {"type": "image_url", "image_url": {"url": "https://x/y.png"}}),
        (
            AudioPart(data=b"\x00\xff", format="wav"),
            {"type": "input_audio", "input_audio": {"data": "AP8=", "format": "wav"}},
        ),
    ],
)
def test_images_and_sounds_travel_inside_the_message(part: Part, wire: dict[str, Any]) -> None:
    sent = messages(Message(role="user", content=(TextPart("What?"), part), name="ann"))

    assert sent == [{"role": "user", "content": [{"type": "text", "text": "What?"}, wire], "name": "ann"}]


def test_a_conversation_with_tools() -> None:
    call = ToolCall(id="c1", name="weather", arguments='{"at": "sea"}')

    sent = messages(
        Message(role="assistant", tool_calls=(call,), reasoning="Hm."),
        Message(
            role="tool",
            content=(
                ToolResultPart(tool_call_id="c1", content=(TextPart("rain"),)),
                ToolResultPart(tool_call_id="c2", content=()),
            ),
        ),
        Message(role="assistant"),
    )

    function = {"name": "weather", "arguments": '{"at": "sea"}'}
    assert sent == [
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm.",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "assistant", "content": ""},
    ]


def test_results_and_words_of_one_turn_become_messages_in_the_order_upstreams_want() -> None:
    result = ToolResultPart(tool_call_id="c1", content=(TextPart("rain"),))

    sent = messages(Message(role="user", content=(TextPart("Well?"), result)))

    assert [message["role"] for message in sent] == ["tool", "user"]
    assert sent[1]["content"] == "Well?"


def test_the_models_system_message_is_for_conversations_without_one() -> None:
    hi = Message(role="user", content=(TextPart("Hi"),))
    own = Message(role="system", content=(TextPart("Mine."),))

    assert messages(hi, system="Be brief.")[0] == {"role": "system", "content": "Be brief."}
    assert messages(own, hi, system="Be brief.")[0] == {"role": "system", "content": "Mine."}


def test_the_models_stop_strings_are_for_requests_without_any(ask: Ask) -> None:
    assert body(ask(), stop=("END",))["stop"] == ["END"]
    assert body(ask(sampling=SamplingParams(stop=("\n",))), stop=("END",))["stop"] == ["\n"]


def test_text_and_tokens_go_to_completions() -> None:
    sampling = SamplingParams(logprobs=3, max_tokens=2)
    text = GenerateRequest(id=1, input=TextInput(text="Once", suffix="end"), sampling=sampling)
    tokens = GenerateRequest(id=1, input=TokensInput(tokens=(1, 2)))

    path, sent = to_openai(text, model="llama3", max_tokens_field="max_completion_tokens")

    assert path == "/completions"
    assert (sent["prompt"], sent["suffix"], sent["logprobs"], sent["max_tokens"]) == ("Once", "end", 3, 2)
    assert body(tokens)["prompt"] == [1, 2]


def test_adapters_have_no_name_elsewhere(ask: Ask) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        body(ask(adapters=(Adapter(digest="sha256:0"),)))

    assert caught.value.param == "adapters"
