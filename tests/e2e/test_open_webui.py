"""What Open WebUI asks of a server, as its Ollama connection and as its OpenAI connection, and reads in the answers.

From its sources: backend/open_webui/routers/ollama.py, openai.py and tasks.py, utils/payload.py, retrieval/utils.py.
"""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]

KEY = {"Content-Type": "application/json", "Authorization": "Bearer sk-none"}
USER = {"X-OpenWebUI-User-Name": "Ann", "X-OpenWebUI-User-Email": "ann@example.org", "X-OpenWebUI-User-Role": "admin"}
TITLE = """### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Output:
JSON format: { "title": "your concise title here" }
### Chat History:
<chat_history>
USER: Say hello.
ASSISTANT: Hello!
</chat_history>"""
QUESTION = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Say hello."}]


@pytest.fixture
def http(server: Any) -> Any:
    with httpx.Client(base_url=server.url, headers=KEY | USER, timeout=90) as client:
        yield client


def ok(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


# As Ollama.


def test_its_ollama_connection_is_verified_and_lists_models_with_when_they_go(http: httpx.Client) -> None:
    assert ok(http.get("/api/version"))["version"].count(".") == 2
    assert http.head("/").status_code == 200
    listed = {model["model"]: model for model in ok(http.get("/api/tags"))["models"]}
    smollm2 = listed["smollm2:latest"]
    assert smollm2["name"] == smollm2["model"]
    assert {"parameter_size", "quantization_level", "family"} <= set(smollm2["details"])

    ok(http.post("/api/generate", json={"model": "smollm2:latest", "prompt": "", "keep_alive": "5m"}))
    loaded = {model["name"]: model for model in ok(http.get("/api/ps"))["models"]}
    # Its list is keyed by the names of /api/tags, and Python 3.11 reads the time.
    assert datetime.fromisoformat(loaded["smollm2:latest"]["expires_at"]).timestamp() > 0

    shown = ok(http.post("/api/show", json={"name": "smollm2:latest", "model": "smollm2:latest"}))
    assert "completion" in shown["capabilities"]
    assert "modelfile" in shown


def test_a_chat_over_ollama_comes_in_lines_with_its_usage(http: httpx.Client) -> None:
    """Its parameters are in `options`, under Ollama's names and one of its own."""
    options = {"temperature": 0, "top_p": 0.9, "seed": 1, "num_predict": 8, "repeat_penalty": 1.1, "stop": ["</s>"]}
    options |= {"num_keep": 4, "use_mmap": True, "num_thread": 1, "new_topic_penalty": 0.1}
    body = {"model": "smollm2:latest", "messages": QUESTION, "stream": True, "options": options, "keep_alive": "5m"}
    with http.stream("POST", "/api/chat", content=json.dumps(body)) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in response.iter_lines()]

    assert "".join(line["message"]["content"] for line in lines)
    assert not any(line["done"] for line in lines[:-1])
    last = lines[-1]
    assert last["done"]
    assert last["done_reason"] in ("stop", "length")
    counts = ("prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration", "total_duration")
    assert all(last[name] > 0 for name in counts)


def test_a_title_over_ollama_comes_whole(http: httpx.Client) -> None:
    message = {"role": "user", "content": TITLE}
    body = {"model": "smollm2:latest", "messages": [message], "stream": False, "options": {"num_predict": 30}}
    answer = ok(http.post("/api/chat", json=body))

    assert answer["message"]["content"]
    assert answer["done"]


def test_its_retrieval_has_vectors_over_ollama(http: httpx.Client) -> None:
    """Many texts at once, with `truncate` and without; an older version's one prompt."""
    texts = ["A cat.", "A dog."]
    vectors = ok(http.post("/api/embed", json={"model": "smollm2:latest", "input": texts, "truncate": True}))
    assert [len(vector) for vector in vectors["embeddings"]] == [576] * 2
    assert len(ok(http.post("/api/embed", json={"model": "smollm2", "input": texts}))["embeddings"]) == 2
    assert len(ok(http.post("/api/embeddings", json={"model": "smollm2", "prompt": "A cat."}))["embedding"]) == 576


def test_an_error_over_ollama_is_a_text_that_it_shows(http: httpx.Client) -> None:
    response = http.post("/api/chat", json={"model": "nobody:latest", "messages": QUESTION})

    assert response.status_code == 404
    assert "nobody" in response.json()["error"]


def test_its_pages_pull_and_unload_and_remove(http: httpx.Client) -> None:
    pull = {"name": "smollm2", "model": "smollm2", "insecure": True}
    with http.stream("POST", "/api/pull", content=json.dumps(pull)) as response:
        lines = [json.loads(line) for line in response.iter_lines()]
    assert lines[-1] == {"status": "success"}

    assert http.post("/api/copy", json={"source": "smollm2", "destination": "to-go"}).status_code == 200
    ok(http.post("/api/generate", json={"model": "to-go", "keep_alive": 0, "prompt": ""}))
    assert http.request("DELETE", "/api/delete", json={"name": "to-go", "model": "to-go"}).status_code == 200
    assert "to-go:latest" not in {model["model"] for model in ok(http.get("/api/tags"))["models"]}


# As OpenAI.


def test_its_openai_connection_is_verified_and_lists_models(http: httpx.Client) -> None:
    listed = ok(http.get("/v1/models"))

    assert listed["object"] == "list"
    assert {"smollm2", "gpt-3.5-turbo"} <= {model["id"] for model in listed["data"]}
    assert all({"id", "object", "created", "owned_by"} <= set(model) for model in listed["data"])


def test_a_chat_over_openai_is_streamed_with_its_usage_at_the_end(http: httpx.Client) -> None:
    """What its page sends beside OpenAI's fields is left out and named."""
    own = {"chat_id": "7c", "session_id": "x", "id": "1", "features": {"web_search": False}, "tool_servers": []}
    own |= {
        "background_tasks": {"title_generation": True},
        "model_item": {"id": "smollm2"},
        "variables": {"{{A}}": "b"},
    }
    parameters = {
        "max_tokens": 8,
        "temperature": 0,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "stop": ["</s>"],
        "seed": 1,
    }
    body = {"model": "smollm2", "messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}}
    body |= parameters | own | {"logit_bias": {"100": -1}, "params": {}, "files": None}
    with http.stream("POST", "/v1/chat/completions", content=json.dumps(body)) as response:
        assert "text/event-stream" in response.headers["content-type"]
        assert "chat_id" in response.headers["x-ignored-params"]
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]

    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] > 0


def test_a_title_over_openai_comes_whole(http: httpx.Client) -> None:
    message = {"role": "user", "content": TITLE}
    body = {"model": "smollm2", "messages": [message], "stream": False, "max_completion_tokens": 30}
    (choice,) = ok(http.post("/v1/chat/completions", json=body))["choices"]

    assert choice["message"]["content"]


def test_its_tools_are_called_over_openai(http: httpx.Client) -> None:
    """Its own description of a tool has more than a function's."""
    parameters = {"properties": {"city": {"enum": ["Rome", "Bonn"], "description": "The city."}}, "type": "object"}
    function = {"name": "get_weather", "description": "Tells it.", "parameters": parameters | {"required": ["city"]}}
    tools = [{"type": "function", "function": function}]
    body = {"model": "smollm2", "messages": QUESTION, "tools": tools, "tool_choice": "required", "stream": False}
    (choice,) = ok(http.post("/v1/chat/completions", json=body | {"temperature": 0, "max_tokens": 60}))["choices"]
    call = choice["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"])["city"] in ("Rome", "Bonn")

    called = {"role": "assistant", "content": "", "tool_calls": [call | {"index": 0}]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "12 degrees"}
    calls = choice["message"]["tool_calls"][1:]
    messages = [*QUESTION, called | {"tool_calls": [call | {"index": 0}, *calls]}, result]
    messages += [result | {"tool_call_id": other["id"]} for other in calls]
    again = {"model": "smollm2", "messages": messages, "tools": tools, "stream": False, "max_tokens": 8}
    assert ok(http.post("/v1/chat/completions", json=again))["choices"]


def test_its_retrieval_has_vectors_and_ranks_over_openai(http: httpx.Client) -> None:
    vectors = ok(http.post("/v1/embeddings", json={"model": "smollm2", "input": ["A cat.", "A dog."]}))["data"]
    assert [len(one["embedding"]) for one in vectors] == [576, 576]

    ranked = {"model": "smollm2", "query": "cat", "documents": ["A cat.", "A dog."], "top_n": 2}
    refused = http.post("/v1/rerank", json=ranked)  # no model that ranks: said, with what would work
    assert refused.status_code == 400
    assert "similarity" in refused.json()["error"]["message"]


def test_an_error_over_openai_is_one_that_it_shows(http: httpx.Client) -> None:
    body = {"model": "nobody", "messages": QUESTION, "stream": True}
    response = http.post("/v1/chat/completions", json=body)

    assert response.status_code == 404
    assert "text/event-stream" not in response.headers["content-type"]
    assert "nobody" in response.json()["error"]["message"]
