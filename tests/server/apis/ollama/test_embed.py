"""`/api/embed` and `/api/embeddings` over HTTP."""

import ollama
import pytest

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineOptions


async def embed(server, path="embed", **fields):
    return await server.http.post(f"/api/{path}", json={"model": "echo"} | fields)


async def test_each_input_has_a_vector(serve):
    async with serve() as server:
        body = (await embed(server, input=["a", "bc"], options={"num_ctx": 64, "top_k": 40})).json()
        assert body["model"] == "echo"
        assert body["embeddings"] == [pytest.approx([0.6, 0.0, -0.8])] * 2
        assert body["prompt_eval_count"] == 3
        assert isinstance(body["total_duration"], int)
        assert server.router.lease_asked["options"] == EngineOptions(n_ctx=64)


@pytest.mark.parametrize(
    ("fields", "truncates"), [({}, True), ({"truncate": True}, True), ({"truncate": False}, False)]
)
async def test_inputs_that_are_too_long_are_cut_unless_told_otherwise(serve, fields, truncates):
    async with serve() as server:
        await embed(server, input="a", **fields)
        assert server.engine.embedded == [(("a",), truncates)]


async def test_vectors_can_be_shorter(serve):
    async with serve() as server:
        assert (await embed(server, input="a", dimensions=1)).json()["embeddings"] == [[1.0]]
        assert "'dimensions'" in (await embed(server, input="a", dimensions=4)).json()["error"]


@pytest.mark.parametrize("fields", [{}, {"input": ""}, {"input": []}, {"input": None}])
async def test_nothing_to_read_loads_the_model(serve, fields):
    async with serve() as server:
        assert (await embed(server, **fields)).json()["embeddings"] == []
        assert server.router.asked.is_set()
        assert server.engine.embedded == []


async def test_the_older_endpoint_has_one_text_and_one_vector(serve):
    async with serve() as server:
        assert (await embed(server, "embeddings", prompt="a")).json() == {"embedding": pytest.approx([0.6, 0.0, -0.8])}
        assert (await embed(server, "embeddings", prompt="")).json() == {"embedding": []}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"input": [1, 2]}, "Invalid value for 'input[0]': expected a string, got 1."),
        ({"input": ["a", ""]}, "'input[1]' must not be empty."),
        ({"input": "a", "dimensions": 0}, "'dimensions' must be between 1 and"),
        ({"input": ["a"] * 2049}, "'input' holds at most 2048 texts"),
    ],
)
async def test_what_cannot_be_read_is_named(serve, fields, text):
    async with serve() as server:
        response = await embed(server, **fields)
        assert response.status_code == 400
        assert text in response.json()["error"]


async def test_a_model_that_makes_none_says_so(serve):
    async with serve(capabilities=Capabilities()) as server:
        response = await embed(server, input="a")
        assert response.status_code == 400
        assert "makes no embeddings" in response.json()["error"]


async def test_ollama_s_client_embeds(serve):
    async with serve() as server:
        found = await ollama.AsyncClient(host=server.url).embed(model="echo", input=["a", "b"])
        assert len(found.embeddings) == 2
