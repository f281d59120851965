"""Fields that are not OpenAI's: what a rival gives a meaning is honoured or refused by name, the rest is left out and
named; defaults that ask for nothing are never refused."""

import logging

import pytest

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.constraint import Choice, JsonObject, JsonSchema, LarkGrammar, Regex
from aiadmin_core.specs.model import EngineOptions
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.apis.openai.extensions import MEANINGFUL

ABLE = Capabilities(
    inputs=frozenset({"chat", "text"}),
    constraints=frozenset({"json_object", "json_schema", "regex", "choice", "lark"}),
    reasoning=True,
)
PLAIN = Capabilities(inputs=frozenset({"chat", "text"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"logprobs": False, "top_logprobs": 0},
        {"top_logprobs": 0},
        {"reasoning_effort": "none"},
        {"think": False},
        {"enable_thinking": False},
        {"n": 1},
        {"tool_choice": "none"},
        {"tool_choice": "auto"},
        {"parallel_tool_calls": True},
        {"response_format": {"type": "text"}},
        {"stream_options": None, "tools": None, "stop": None},
        {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}},
        {"store": False, "service_tier": "auto", "modalities": ["text"]},
        {"tfs_z": 1.0, "top_n_sigma": -1, "length_penalty": 1.0, "use_beam_search": False, "stop_token_ids": []},
        {"skip_special_tokens": True, "include_stop_str_in_output": False, "min_tokens": 0, "truncation": "disabled"},
        {"options": {}, "lora": [], "grammar": None, "guided_json": None},
        {
            "functions": [],
            "function_call": "none",
            "grammar": "",
            "guided_regex": "",
            "structured_outputs": {},
            "stop": "",
        },
        {"do_sample": True, "add_generation_prompt": True, "n_predict": -1, "reasoning_budget": -1, "max_length": None},
    ],
)
async def test_defaults_sent_out_loud_ask_for_nothing(serve, fields):
    async with serve(capabilities=PLAIN) as server:
        response = await server.chat(**fields)
        assert response.status_code == 200, response.text
        assert "x-ignored-params" not in response.headers


async def test_a_completion_s_defaults_ask_for_nothing(serve):
    async with serve(capabilities=PLAIN) as server:
        fields = {"best_of": 1, "n": 1, "echo": False, "suffix": None, "logprobs": None}
        assert (await server.complete(**fields)).status_code == 200


async def test_top_logprobs_without_logprobs_still_contradict_each_other(serve):
    async with serve() as server:
        assert (await server.chat(top_logprobs=2)).json()["error"]["param"] == "top_logprobs"


HISTORY = [
    {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "content": "hi", "id": "msg_1", "provider_specific_fields": {"a": 1}},
    {"role": "assistant", "content": "ho", "reasoning_details": [{"type": "x"}], "audio": None, "citations": []},
    {"role": "user", "content": "well", "cache_control": {"type": "ephemeral"}, "timestamp": 5, "metadata": {}},
]


async def test_what_clients_leave_in_the_history_is_left_out_and_named(serve):
    async with serve() as server:
        response = await server.chat(messages=HISTORY, stream_options={"continuous_usage_stats": True}, stream=True)
        assert response.status_code == 200
        named = response.headers["x-ignored-params"].split(", ")
        assert named == [
            "messages[0].content[0].cache_control",
            "messages[1].id",
            "messages[1].provider_specific_fields",
            "messages[2].reasoning_details",
            "messages[2].citations",
            "messages[3].cache_control",
            "messages[3].timestamp",
            "messages[3].metadata",
            "stream_options.continuous_usage_stats",
        ]
        assert [message.role for message in server.engine.request.messages] == ["system", "user", "assistant", "user"]


async def test_hints_that_cannot_be_had_are_left_out_and_named(serve):
    async with serve(capabilities=PLAIN) as server:
        response = await server.chat(verbosity="low", reasoning_effort="high")
        assert response.status_code == 200
        assert response.headers["x-ignored-params"] == "verbosity, reasoning_effort"
        assert server.engine.request.reasoning_effort is None
        assert (await server.chat(think=True)).headers["x-ignored-params"] == "think"


async def test_names_of_fields_take_a_kilobyte_of_headers_at_most(serve):
    async with serve() as server:
        response = await server.chat(**{f"x{number}\r\nset-cookie: a=b{'y' * 50}": 1 for number in range(200)})
        assert response.status_code == 200
        assert len(response.headers["x-ignored-params"]) < 1024
        assert response.headers["x-ignored-params"].endswith(", ...")
        assert "set-cookie" not in response.headers


async def test_what_is_left_out_is_logged_once_a_name_and_counted_without_names(serve, caplog):
    caplog.set_level(logging.INFO, logger="aiadmin.server")
    async with serve() as server:
        for _ in range(3):
            await server.chat(messages=[{"role": "user", "content": "hi", "id": str(n)} for n in range(4)], odd=1)
        assert sum("messages[].id" in record.getMessage() for record in caplog.records) == 1
        assert sum("'odd'" in record.getMessage() for record in caplog.records) == 1
        page = (await server.http.get("/metrics")).text
        assert 'aiadmin_ignored_fields_total{endpoint="/v1/chat/completions"} 15.0' in page
        assert "odd" not in page


@pytest.mark.parametrize("name", sorted(MEANINGFUL))
async def test_what_a_rival_gives_a_meaning_is_refused_by_name(serve, name):
    async with serve(capabilities=PLAIN) as server:
        has_a_place = name in ChatCompletionRequest.__struct_fields__
        asks = [server.complete] if has_a_place else [server.complete, server.chat]
        for response in [await ask(**{name: {"x": 1}}) for ask in asks]:
            assert response.status_code == 400
            error = response.json()["error"]
            assert (error["param"], error["code"]) == (name, "unsupported_parameter")
            assert MEANINGFUL[name].why in error["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"do_sample": False},
        {"skip_special_tokens": False},
        {"add_generation_prompt": False},
        {"temperature_last": False},
        {"include_reasoning": False},
        {"thinking_budget": 0},
        {"reasoning_budget": 0},
        {"use_beam_search": True},
        {"num_beams": 4},
    ],
    ids=str,
)
async def test_a_false_or_a_zero_that_asks_for_something_is_refused_by_name(serve, fields):
    async with serve(capabilities=PLAIN) as server:
        response = await server.chat(**fields)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == next(iter(fields))


async def test_vllms_name_for_the_penalty_is_honoured(serve):
    penalising = Capabilities(inputs=frozenset({"chat"}), sampling=frozenset({"repeat_penalty", "repeat_last_n"}))
    async with serve(capabilities=penalising) as server:
        assert (await server.chat(repetition_penalty=1.2)).status_code == 200
        sampling = server.engine.request.sampling
        assert (sampling.repeat_penalty, sampling.repeat_last_n) == (1.2, -1)
        assert (await server.chat(repetition_penalty=1.2, repeat_last_n=8)).status_code == 200
        assert server.engine.requests[-1].sampling.repeat_last_n == 8
        for wrong in (0, -1, 1e9):
            assert (await server.chat(repetition_penalty=wrong)).json()["error"]["param"] == "repetition_penalty"
        both = await server.chat(repetition_penalty=1.2, repeat_penalty=1.1)
        assert both.json()["error"]["param"] == "repetition_penalty"


async def test_minus_one_is_everything_as_elsewhere(serve):
    """vLLM's `top_k: -1`."""
    async with serve(capabilities=Capabilities(inputs=frozenset({"chat"}), sampling=frozenset({"top_k"}))) as server:
        assert (await server.chat(top_k=-1)).status_code == 200
        assert server.engine.request.sampling.top_k == 0


async def test_an_upstream_that_knows_such_a_field_is_sent_it(serve):
    forwarding = Capabilities(inputs=frozenset({"chat", "text"}), forwards_unknown=True)
    async with serve(capabilities=forwarding) as server:
        assert (await server.chat(min_tokens=5, odd={"a": 1})).status_code == 200
        assert server.engine.request.extra == {"min_tokens": 5, "odd": {"a": 1}}


PLACE = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"regex": "a+"}, Regex("a+")),
        ({"guided_regex": "a+"}, Regex("a+")),
        ({"structured_outputs": {"regex": "a+"}}, Regex("a+")),
        ({"grammar": 'start: "a"'}, LarkGrammar('start: "a"')),
        ({"guided_grammar": 'start: "a"'}, LarkGrammar('start: "a"')),
        ({"structured_outputs": {"grammar": 'start: "a"'}}, LarkGrammar('start: "a"')),
        ({"guided_choice": ["a", "b"]}, Choice(("a", "b"))),
        ({"structured_outputs": {"choice": ["a"]}}, Choice(("a",))),
        ({"json_schema": PLACE}, JsonSchema(schema=PLACE)),
        ({"guided_json": PLACE}, JsonSchema(schema=PLACE)),
        ({"guided_json": '{"type": "null"}'}, JsonSchema(schema={"type": "null"})),
        ({"structured_outputs": {"json": PLACE}}, JsonSchema(schema=PLACE)),
        ({"structured_outputs": {"json_object": True}}, JsonObject()),
        ({"structured_outputs": {"json_object": False}}, None),
    ],
)
async def test_other_servers_names_for_formats_are_honoured(serve, fields, constraint):
    async with serve(capabilities=ABLE) as server:
        for response in (await server.chat(**fields), await server.complete(**fields)):
            assert response.status_code == 200, response.text
            assert server.engine.requests[-1].constraint == constraint


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"regex": "a", "grammar": "start: x"}, "regex"),
        ({"regex": "a", "response_format": {"type": "json_object"}}, "regex"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "[1]"}, "guided_json"),
        ({"think": True, "reasoning_effort": "none"}, "think"),
        ({"num_ctx": 0}, "num_ctx"),
        ({"regex": 5}, "regex"),
    ],
)
async def test_extensions_that_make_no_sense_are_named(serve, fields, param):
    async with serve(capabilities=ABLE) as server:
        response = await server.chat(**fields)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param


async def test_a_format_that_the_model_lacks_is_refused_by_the_name_it_was_asked_by(serve):
    async with serve(capabilities=PLAIN) as server:
        response = await server.chat(structured_outputs={"choice": ["a"]})
        assert response.json()["error"]["param"] == "structured_outputs.choice"


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"think": True}, "medium"),
        ({"think": "high"}, "high"),
        ({"enable_thinking": False}, "none"),
        ({"enable_thinking": True, "reasoning_effort": "low"}, "low"),
    ],
)
async def test_other_servers_switches_for_reasoning_are_honoured(serve, fields, effort):
    async with serve(capabilities=ABLE) as server:
        assert (await server.chat(**fields)).status_code == 200
        assert server.engine.request.reasoning_effort == effort


async def test_a_context_can_be_asked_for(serve):
    async with serve() as server:
        assert (await server.chat(num_ctx=4096)).status_code == 200
        assert server.router.lease_asked["options"] == EngineOptions(n_ctx=4096)
