"""Every property of OpenAI's request schemas does what it says on the real model; or the page says that it has no
effect, or is refused, and it is so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}}
TOOLS = [{"type": "function", "function": FUNCTION}]
ONE_ANSWER = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["only this"]}}}


class Asking:
    """What a request to one endpoint comes to, and how it differs from a plain one."""

    def __init__(self, base_url: str, path: str, plain: dict[str, Any]) -> None:
        self.http = httpx.Client(base_url=base_url, timeout=90)
        self.path = path
        self.plain = plain

    def post(self, **fields: Any) -> httpx.Response:
        """None leaves a field of the plain request out."""
        body = {name: value for name, value in (self.plain | fields).items() if value is not None}
        return self.http.post(self.path, json=body)

    def __call__(self, **fields: Any) -> dict[str, Any]:
        response = self.post(**fields)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def text(self, **fields: Any) -> str:
        (choice,) = self(**fields)["choices"]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])

    def tokens(self, text: str) -> list[int]:
        found: list[int] = self.http.post("tokenize", json={"model": "smollm2", "content": text}).json()["tokens"]
        return found


Check = Callable[[Asking], None]


def holds(condition: Callable[[Asking], Any]) -> Check:
    def check(ask: Asking) -> None:
        assert condition(ask)

    return check


def without_effect(**fields: Any) -> Check:
    """The same answer, and the page says so."""

    def check(ask: Asking) -> None:
        (name,) = fields
        if ask.path == "embeddings":
            same = [one(ask)["data"] for one in (lambda ask: ask(), lambda ask: ask(**fields))]
        else:
            same = [ask.text(), ask.text(**fields)]
        assert same[0] == same[1]
        assert said_of(ask.path, name, "no effect")

    return check


def refused(**fields: Any) -> Check:
    """By its name, and the page says so."""

    def check(ask: Asking) -> None:
        (name,) = fields
        response = ask.post(**fields)
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert (error["code"], error["param"].partition(".")[0]) == ("unsupported_parameter", name)
        assert said_of(ask.path, name, "refuse")

    return check


def hinted(**fields: Any) -> Check:
    """Left out, and named in the header."""
    (name,) = fields
    return holds(lambda ask: ask.post(**fields).headers["x-ignored-params"] == name and said_of(ask.path, name, name))


def said_of(path: str, name: str, words: str) -> bool:
    """Whether a line of the endpoint's part of the page names the field and has these words."""
    page = PAGE.read_text(encoding="utf-8")
    part = page.split(f"## Fields of `/v1/{path}`")[1].split("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    paragraphs = [one for one in part.split("\n\n") if f"`{name}`" in one]
    if any(f"`{name}`" in one and words in one for one in (*rows, *paragraphs)):
        return True
    return path == "completions" and "are as above" in "".join(paragraphs) and said_of("chat/completions", name, words)


def differs(name: str, value: Any, **beside: Any) -> Check:
    """The answer is another one with it, and the same again."""
    return holds(
        lambda ask: (
            ask.text(**beside) != (found := ask.text(**beside, **{name: value}))
            and found == ask.text(**beside, **{name: value})
        )
    )


def of_seeds(ask: Asking) -> bool:
    first, again, other = (ask.text(temperature=1.5, seed=seed, max_tokens=12) for seed in (1, 1, 2))
    return first == again != other


def of_bias(ask: Asking) -> bool:
    first = ask.tokens(ask.text())[0]
    return ask.tokens(ask.text(logit_bias={str(first): -100}))[0] != first


def of_usage_in_stream(ask: Asking) -> bool:
    text = ask.post(stream=True, stream_options={"include_usage": True}).text
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return chunks[-1]["usage"]["completion_tokens"] > 0 and all(chunk["usage"] is None for chunk in chunks[:-1])


def calls(ask: Asking, **fields: Any) -> list[Any]:
    found: list[Any] = ask(**fields, max_tokens=60)["choices"][0]["message"].get("tool_calls", [])
    return found


SHARED: dict[str, Check] = {
    "frequency_penalty": differs("frequency_penalty", 2, max_tokens=40),
    "logit_bias": holds(of_bias),
    "max_tokens": holds(lambda ask: ask(max_tokens=3)["usage"]["completion_tokens"] == 3),
    "model": holds(
        lambda ask: ask(model="gpt-3.5-turbo")["model"] == "gpt-3.5-turbo" and ask.post(model="no").status_code == 404
    ),
    "n": holds(lambda ask: [choice["index"] for choice in ask(n=2)["choices"]] == [0, 1]),
    "presence_penalty": differs("presence_penalty", 2, max_tokens=40),
    "seed": holds(of_seeds),
    "stop": holds(lambda ask: ask.text(stop=[ask.text()[3:6]]) == ask.text()[:3]),
    "stream": holds(lambda ask: ask.post(stream=True).text.endswith("data: [DONE]\n\n")),
    "stream_options": holds(of_usage_in_stream),
    "temperature": holds(lambda ask: ask.text(temperature=2, seed=1, max_tokens=12) != ask.text(max_tokens=12)),
    "top_p": holds(lambda ask: ask.text(temperature=1.5, seed=3, top_p=0) == ask.text()),
    "user": without_effect(user="somebody"),
}
REPEATING = [{"role": "user", "content": "Write the word one twenty times: one one one one one one"}]
CHAT: dict[str, Check] = SHARED | {
    "frequency_penalty": differs("frequency_penalty", 2, max_tokens=40, messages=REPEATING),
    "presence_penalty": differs("presence_penalty", 2, max_tokens=40, messages=REPEATING),
    "audio": refused(audio={"voice": "alloy", "format": "wav"}),
    "function_call": holds(
        lambda ask: (
            ask(functions=[FUNCTION], function_call={"name": "f"}, max_tokens=60)["choices"][0]["message"][
                "function_call"
            ]["name"]
            == "f"
        )
    ),
    "functions": holds(
        lambda ask: ask(functions=[FUNCTION])["usage"]["prompt_tokens"] > ask()["usage"]["prompt_tokens"]
    ),
    "logprobs": holds(lambda ask: len(ask(logprobs=True)["choices"][0]["logprobs"]["content"]) > 1),
    "max_completion_tokens": holds(
        lambda ask: ask(max_completion_tokens=2, max_tokens=None)["usage"]["completion_tokens"] == 2
    ),
    "messages": holds(
        lambda ask: (
            ask(messages=[{"role": "user", "content": "x"}])["usage"]["prompt_tokens"] < ask()["usage"]["prompt_tokens"]
        )
    ),
    "metadata": without_effect(metadata={"a": "b"}),
    "modalities": refused(modalities=["text", "audio"]),
    "moderation": refused(moderation={"model": "omni-moderation-latest"}),
    "parallel_tool_calls": holds(
        lambda ask: len(calls(ask, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)) == 1
    ),
    "prediction": holds(
        lambda ask: (
            (found := ask(prediction={"type": "content", "content": ask.text()}))["choices"] == ask()["choices"]
            and found["usage"]["completion_tokens_details"]["accepted_prediction_tokens"] >= 0
        )
    ),
    "prompt_cache_key": without_effect(prompt_cache_key="key"),
    "prompt_cache_options": refused(prompt_cache_options={"ttl": "30m"}),
    "prompt_cache_retention": refused(prompt_cache_retention="24h"),
    "reasoning_effort": hinted(reasoning_effort="high"),  # this model does not reason
    "response_format": holds(lambda ask: ask.text(response_format=ONE_ANSWER) == '"only this"'),
    "safety_identifier": without_effect(safety_identifier="somebody"),
    "service_tier": refused(service_tier="priority"),
    "store": refused(store=True),
    "tool_choice": holds(
        lambda ask: (
            json.loads(calls(ask, tools=TOOLS, tool_choice="required")[0]["function"]["arguments"])["n"] in (1, 2)
        )
    ),
    "tools": holds(lambda ask: ask(tools=TOOLS)["usage"]["prompt_tokens"] > ask()["usage"]["prompt_tokens"]),
    "top_logprobs": holds(
        lambda ask: all(
            len(item["top_logprobs"]) == 3
            for item in ask(logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"]
        )
    ),
    "verbosity": hinted(verbosity="high"),
    "web_search_options": refused(web_search_options={}),
}
COMPLETION: dict[str, Check] = SHARED | {
    "best_of": holds(
        lambda ask: ask(best_of=3, temperature=1, max_tokens=4, ignore_eos=True)["usage"]["completion_tokens"] == 12
    ),
    "echo": holds(lambda ask: ask.text(echo=True) == ask.plain["prompt"] + ask.text()),
    "logprobs": holds(lambda ask: len(ask(logprobs=2)["choices"][0]["logprobs"]["top_logprobs"][0]) == 2),
    "prompt": holds(lambda ask: len(ask(prompt=["a", "b"])["choices"]) == 2),
    "suffix": refused(suffix="end"),  # this model's vocabulary has no tokens for a gap
}
EMBEDDING: dict[str, Check] = {
    "dimensions": holds(lambda ask: len(ask(dimensions=8)["data"][0]["embedding"]) == 8),
    "encoding_format": holds(lambda ask: isinstance(ask(encoding_format="base64")["data"][0]["embedding"], str)),
    "input": holds(lambda ask: len(ask(input=["a", "b"])["data"]) == 2),
    "model": SHARED["model"],
    "user": without_effect(user="somebody"),
}
ENDPOINTS: dict[str, tuple[str, dict[str, Any], dict[str, Check]]] = {
    "CreateChatCompletionRequest": (
        "chat/completions",
        {"messages": [{"role": "user", "content": "Say: this is a test."}], "temperature": 0, "max_tokens": 8},
        CHAT,
    ),
    "CreateCompletionRequest": (
        "completions",
        {"prompt": "One day a fox met a hen. The fox", "temperature": 0, "max_tokens": 8},
        COMPLETION,
    ),
    "CreateEmbeddingRequest": ("embeddings", {"input": "A cat."}, EMBEDDING),
}


def properties(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The names of an object's properties, those it inherits included."""
    if reference := schema.get("$ref"):
        return properties(schemas[reference.rpartition("/")[2]], schemas)
    inherited = (properties(part, schemas) for part in schema.get("allOf", ()))
    return set(schema.get("properties", {})).union(*inherited)


@pytest.mark.parametrize("schema", ENDPOINTS)
def test_every_property_has_its_check(shared_data: Path, schema: str) -> None:
    yaml = pytest.importorskip("yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (shared_data / "openai" / "openapi.yaml").read_text(encoding="utf-8")
    schemas = yaml.load(text, Loader=loader)["components"]["schemas"]

    assert properties(schemas[schema], schemas) == set(ENDPOINTS[schema][2])


@pytest.mark.parametrize(("schema", "name"), [(schema, name) for schema in ENDPOINTS for name in ENDPOINTS[schema][2]])
def test_a_property_does_what_it_says(server: Any, schema: str, name: str) -> None:
    path, plain, checks = ENDPOINTS[schema]
    checks[name](Asking(server.base_url, path, {"model": "smollm2"} | plain))
