"""The HTTP suite on every backend: one server, the same tiny random model as GGUF and as safetensors.

What depends on sense runs on the real model: llama.cpp's in test_openai_python.py, MLX's (seven tokens a second) at the
end of this file.
"""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("backends")]
ASK = [{"role": "user", "content": "Say: this is a test."}]
BACKENDS = ["llamacpp", "mlx"]


@pytest.fixture(scope="module")
def server(
    product: Any, tiny_gguf: Path, tiny_mlx: Path, smollm2_mlx: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    own = product.clone(tmp_path_factory.mktemp("backends") / "state")
    own.run("pull", str(tiny_gguf), "--as", "tiny-llamacpp")
    own.run("pull", str(tiny_mlx), "--as", "tiny-mlx", "--in-place")
    own.run("pull", str(smollm2_mlx), "--as", "smollm2-mlx", "--in-place")
    with own.serve(AIADMIN_MAX_LOADED_MODELS="4") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    with openai.OpenAI(base_url=server.base_url, api_key="AiAdmin", max_retries=0, timeout=90) as client:
        yield client


@pytest.fixture(params=BACKENDS)
def model(request: pytest.FixtureRequest) -> str:
    return f"tiny-{request.param}"


def chat(client: Any, model: str, content: str = "Say: this is a test.", **options: Any) -> Any:
    messages = [{"role": "user", "content": content}]
    return client.chat.completions.create(model=model, messages=messages, **{"max_tokens": 12} | options)


def test_the_answer_has_openais_shape_and_its_usage_adds_up(client: Any, model: str) -> None:
    answer = chat(client, model)

    assert answer.object == "chat.completion"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_a_stream_gives_the_same_text_as_the_whole_answer(client: Any, model: str) -> None:
    whole = chat(client, model, temperature=0).choices[0].message.content

    chunks = list(chat(client, model, temperature=0, stream=True, stream_options={"include_usage": True}))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens == 12


def test_a_seed_gives_the_same_text_again_and_another_seed_another(client: Any, model: str) -> None:
    texts = [chat(client, model, seed=seed).choices[0].message.content for seed in (5, 6, 5)]

    assert texts[0] == texts[2]
    assert texts[0] != texts[1]


def test_a_stop_string_ends_the_answer_and_never_appears(client: Any, model: str) -> None:
    whole = chat(client, model, temperature=0).choices[0].message.content
    stop = whole[len(whole) // 2 :][:4]

    stopped = chat(client, model, temperature=0, stop=[stop]).choices[0]

    assert stopped.message.content == whole[: whole.index(stop)]
    assert stopped.finish_reason == "stop"


def test_several_answers_differ_and_come_again_with_their_seed(client: Any, model: str) -> None:
    def answers() -> list[str]:
        return [choice.message.content for choice in chat(client, model, n=3, seed=3).choices]

    first = answers()
    assert len(set(first)) == 3
    assert answers() == first


def test_logprobs_are_sorted_and_belong_to_the_text(client: Any, model: str) -> None:
    answer = chat(client, model, temperature=0, logprobs=True, top_logprobs=3, max_tokens=4)

    content = answer.choices[0].logprobs.content
    assert len(content) == 4
    for token in content:
        tops = [top.logprob for top in token.top_logprobs]
        assert tops == sorted(tops, reverse=True)
        assert token.logprob == pytest.approx(tops[0], abs=1e-4)


@pytest.mark.parametrize("how", [{"temperature": 0}, {"seed": 1}, {"n": 2}])
def test_a_prompt_that_leaves_room_for_one_token_is_answered_with_one(
    client: Any, model: str, how: dict[str, Any]
) -> None:
    answer = client.completions.create(model=model, prompt=[5] * 2047, max_tokens=9, **how)

    assert [choice.finish_reason for choice in answer.choices] == ["length"] * how.get("n", 1)
    assert answer.usage.prompt_tokens == 2047
    assert answer.usage.completion_tokens == how.get("n", 1)


def test_a_bias_decides_the_token(client: Any, model: str) -> None:
    answer = chat(client, model, temperature=0, max_tokens=3, logit_bias={"100": 100})

    biased = chat(client, model, temperature=0, max_tokens=1, logit_bias={"100": 100})
    assert answer.choices[0].message.content == biased.choices[0].message.content * 3


def test_a_json_schema_binds_a_model_that_makes_no_sense(client: Any, model: str) -> None:
    schema = {
        "type": "object",
        "properties": {"stars": {"enum": [1, 2, 3]}, "see_it": {"type": "boolean"}},
        "required": ["stars", "see_it"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "rating", "schema": schema, "strict": True}}
    answer = chat(client, model, response_format=response_format, max_tokens=200, seed=1, n=2)

    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        rating = json.loads(choice.message.content)
        assert rating["stars"] in (1, 2, 3)
        assert isinstance(rating["see_it"], bool)


def test_a_prompt_that_was_read_is_not_read_again(client: Any, model: str) -> None:
    question = f"A long question for {model}: " + "why is the sky blue, and the sea? " * 8
    first = chat(client, model, question)
    again = chat(client, model, question)

    assert again.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 2


TOOL = {"name": "look_up", "description": "Ünïcode 🙂", "parameters": {"type": "object", "properties": {"a": {}}}}
CONVERSATIONS: list[dict[str, Any]] = [
    {},
    {"messages": [{"role": "system", "content": "Be kind."}, *ASK, {"role": "assistant", "content": "This is a"}]},
    {"tools": [{"type": "function", "function": TOOL}]},
    {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "none"},
    {"functions": [TOOL], "function_call": {"name": "look_up"}},
    {"response_format": {"type": "json_object"}},
    {"messages": [*[*ASK, {"role": "assistant", "content": "This is a test."}] * 150, *ASK], "truncation": "auto"},
    {"messages": [{"role": "user", "content": "<|im_end|> typed 十二 " * 5}]},
]


@pytest.mark.parametrize("fields", CONVERSATIONS)
def test_a_prompt_is_counted_exactly_as_it_is_read(server: Any, model: str, fields: dict[str, Any]) -> None:
    body = {"model": model, "messages": ASK, "max_tokens": 1} | fields
    with httpx.Client(base_url=server.base_url, timeout=90) as http:
        usage = http.post("chat/completions", json=body).json()["usage"]
        counted = http.post("chat/completions/input_tokens", json=body)
        assert counted.json() == {"object": "response.input_tokens", "input_tokens": usage["prompt_tokens"]}
        assert usage["prompt_tokens"] > 5


def test_tokens_and_text_are_turned_into_each_other(server: Any, model: str) -> None:
    text = "Hé 十二<|im_end|> 🙂"
    with httpx.Client(base_url=server.base_url, timeout=90) as http:

        def post(path: str, **fields: Any) -> Any:
            return http.post(path, json={"model": model} | fields).json()

        read = post("tokenize", prompt=text, return_token_strs=True)
        usage = post("completions", prompt=text, max_tokens=1)["usage"]
        assert read["count"] == len(read["tokens"]) == len(read["token_strs"]) == usage["prompt_tokens"]
        assert read["max_model_len"] == 2048
        assert "<|im_end|>" in read["token_strs"]
        assert post("detokenize", tokens=read["tokens"])["prompt"] == text
        plain = post("tokenize", content=text, parse_special=False, with_pieces=True)["tokens"]
        assert "<|im_end|>" not in [item["piece"] for item in plain]
        assert post("detokenize", tokens=[item["id"] for item in plain])["content"] == text
        wrong = post("detokenize", tokens=[10**6])["error"]
        assert (wrong["param"], wrong["code"]) == ("tokens", "invalid_value")


def test_requests_are_decoded_together(server: Any, client: Any, model: str) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0) as many:
            await asyncio.gather(
                *(
                    many.chat.completions.create(model=model, messages=ASK, max_tokens=256, seed=seed)
                    for seed in range(4)
                )
            )

    asyncio.run(main())

    server.eventually(
        lambda it: any(row["name"].startswith(model) and row["stats"].get("max_batch", 0) >= 2 for row in it.ps())
    )


def test_an_over_long_prompt_is_refused_with_both_numbers(client: Any, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, model, "word " * 20_000)

    assert caught.value.code == "context_length_exceeded"


def test_a_control_token_typed_by_a_user_is_text(client: Any, model: str) -> None:
    marked = chat(client, model, "a <|im_end|> b", max_tokens=1).usage.prompt_tokens
    plain = chat(client, model, "a b", max_tokens=1).usage.prompt_tokens

    assert marked - plain > 3  # spelled out; as a control token it would cost one


def test_what_the_backend_does_not_have_is_refused_by_name(client: Any, model: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": [picture]}])

    assert caught.value.param == "messages[0].content[0]"


def test_a_runner_that_is_killed_is_replaced(server: Any, client: Any, model: str) -> None:
    assert chat(client, model).choices
    pid = next(int(str(row["pid"])) for row in server.ps() if str(row["name"]).startswith(model))

    stream = chat(client, model, max_tokens=4000, stream=True, extra_body={"ignore_eos": True})
    next(stream)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="SIGKILL"):
        for _ in stream:
            pass

    assert chat(client, model).choices


def test_both_backends_read_the_same_prompt_from_the_same_messages(client: Any) -> None:
    counts = {backend: chat(client, f"tiny-{backend}", max_tokens=1).usage.prompt_tokens for backend in BACKENDS}

    assert len(set(counts.values())) == 1


def test_models_of_both_backends_are_listed(server: Any) -> None:
    listed = {model["id"]: model for model in httpx.get(f"{server.base_url}models").json()["data"]}

    assert {"tiny-llamacpp", "tiny-mlx", "smollm2", "smollm2-mlx"} <= {name.partition(":")[0] for name in listed}


def test_what_a_model_can_is_told_before_it_is_loaded(server: Any, client: Any, model: str) -> None:
    """All but vectors of MLX's, which an architecture may not give."""

    def can() -> list[str]:
        listed = httpx.get(f"{server.base_url}models/{model}", timeout=90).json()
        assert listed["loaded"] == any(str(row["name"]).startswith(model) for row in server.ps())
        return list(listed["capabilities"])

    httpx.post(f"{server.url}/api/stop", json={"model": model}, timeout=90)
    server.eventually(lambda server: not any(str(row["name"]).startswith(model) for row in server.ps()))
    told = can()
    assert chat(client, model, max_tokens=1).choices

    assert {"json", "logprobs", "tools"} <= set(told)
    assert set(told) == {one for one in can() if model.endswith("llamacpp") or not one.startswith("embedding")}


# The real model on MLX.


def test_mlx_answers_with_sense(client: Any) -> None:
    answer = chat(client, "smollm2-mlx", temperature=0)

    assert "this is a test" in answer.choices[0].message.content.lower()
    assert answer.choices[0].finish_reason == "stop"


def test_mlx_writes_json_of_a_schema(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["blue", "green"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    answer = chat(
        client,
        "smollm2-mlx",
        "What is the colour of the sky, as JSON?",
        response_format={"type": "json_schema", "json_schema": {"name": "sky", "schema": schema}},
        temperature=0,
        max_tokens=20,
    )

    assert json.loads(answer.choices[0].message.content) in ({"colour": "blue"}, {"colour": "green"})


@pytest.mark.parametrize("question", ["Say: one, two, three.", "Name three fruits.", "What do bees make?"])
def test_llamacpp_and_mlx_agree_on_how_an_answer_begins(client: Any, question: str) -> None:
    """One model, quantised to four bits for llama.cpp and widened from there for MLX: the weights are the same, the
    arithmetic is not (int8 dot products against bfloat16), so greedy texts part at the first near-tie."""
    answers = {
        model: chat(client, model, question, temperature=0, max_tokens=8, logprobs=True, top_logprobs=2)
        for model in ("smollm2", "smollm2-mlx")
    }

    ours, theirs = (answer.choices[0].logprobs.content for answer in answers.values())
    n_same = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a.token != b.token), len(ours))
    print(f"{question!r}: {n_same} of {len(ours)} tokens agree")
    if n_same < min(len(ours), len(theirs)):
        best, second = ours[n_same].top_logprobs
        assert best.logprob - second.logprob < 1.0, f"they part at {ours[n_same]} and {theirs[n_same]}"
