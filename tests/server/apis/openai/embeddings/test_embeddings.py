"""`/v1/embeddings` over HTTP."""

import asyncio
import base64
import math
import struct

import pytest
from openai.types import CreateEmbeddingResponse

from aiadmin_core.errors import InputTooLong
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Embedded, Finished, Started
from aiadmin_core.specs.request import EmbedRequest
from aiadmin_core.specs.vectors import Vectors


def rows(*vectors, n_tokens=None):
    data = b"".join(struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
    return Vectors(data=data, n_dims=len(vectors[0]), n_tokens=n_tokens or (1,) * len(vectors))


@pytest.mark.parametrize(
    ("shape", "inputs"),
    [
        ("a text", ("a text",)),
        (["a", "bc"], ("a", "bc")),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
async def test_inputs_come_in_four_shapes(serve, shape, inputs):
    async with serve() as server:
        body = (await server.embed(input=shape)).json()
        CreateEmbeddingResponse.model_validate(body, strict=True)
        assert server.engine.embedded == [(inputs, False)]
        assert [item["index"] for item in body["data"]] == list(range(len(inputs)))
        n_tokens = sum(map(len, inputs))
        assert body["usage"] == {"prompt_tokens": n_tokens, "total_tokens": n_tokens}


async def test_base64_holds_the_same_numbers(serve):
    """It is what OpenAI's library asks for by itself."""
    async with serve() as server:
        floats = (await server.embed(encoding_format="float")).json()["data"][0]["embedding"]
        packed = (await server.embed(encoding_format="base64")).json()["data"][0]["embedding"]
        assert list(struct.unpack("<3f", base64.b64decode(packed))) == floats
        answer = await server.openai.embeddings.create(model="echo", input="hi")
        assert answer.data[0].embedding == floats


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_fewer_dimensions_have_length_one_again(serve, encoding):
    async def embedding(inputs):
        return rows((0.6, 0.0, 0.8), (0.0, 0.6, -0.8), (0.0, 0.0, 1.0))

    async with serve(embedding=embedding) as server:
        body = (await server.embed(input=["a", "b", "c"], dimensions=2, encoding_format=encoding)).json()
        found = [item["embedding"] for item in body["data"]]
        if encoding == "base64":
            found = [list(struct.unpack("<2f", base64.b64decode(text))) for text in found]
        assert found == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
        assert math.hypot(*found[0]) == 1.0


async def test_more_dimensions_than_there_are_are_refused(serve):
    async with serve() as server:
        response = await server.embed(dimensions=4)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "dimensions"
        assert "have 3" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("shape", "param"),
    [
        ("", "input"),
        (["a", ""], "input[1]"),
        ([], "input"),
        ([[1], []], "input[1]"),
        ([-1], "input"),
        ([[1, 2**31]], "input[0]"),
        (["a", 1], "input"),
        (["a"] * 2049, "input"),
    ],
)
async def test_inputs_that_are_none_are_refused_by_name(serve, shape, param):
    async with serve() as server:
        response = await server.embed(input=shape)
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param


async def test_a_model_that_makes_none_is_named(serve):
    async with serve(capabilities=Capabilities()) as server:
        error = (await server.embed()).json()["error"]
        assert (error["param"], error["code"]) == ("model", "unsupported_parameter")
        assert "makes no embeddings" in error["message"]


async def test_too_long_an_input_is_named_as_the_client_knows_it(serve):
    async def embedding(inputs):
        raise InputTooLong(n_tokens=600, n_most=512, param="inputs[0]")

    async with serve(embedding=embedding) as server:
        response = await server.embed()
        error = response.json()["error"]
        assert response.status_code == 400
        assert (error["code"], error["param"]) == ("context_length_exceeded", "input[0]")
        assert "600" in error["message"]
        assert "512" in error["message"]


async def test_truncate_is_passed_on(serve):
    async with serve() as server:
        await server.embed(truncate=True)
        assert server.engine.embedded == [(("hi",), True)]


async def test_fields_of_other_servers_that_mean_something_are_refused_by_name(serve):
    async with serve() as server:
        error = (await server.embed(truncate_prompt_tokens=100)).json()["error"]
        assert error["param"] == "truncate_prompt_tokens"


async def test_an_engine_that_gives_another_number_of_vectors_has_failed(serve):
    async def embedding(inputs):
        return rows((1.0, 0.0))

    async with serve(embedding=embedding) as server:
        response = await server.embed(input=["a", "b"])
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "plugin_error"


async def test_a_client_that_leaves_ends_the_work(serve):
    async def embedding(inputs):
        await asyncio.Event().wait()

    async with serve(embedding=embedding) as server:
        asking = asyncio.create_task(server.embed())
        await server.engine.begun.wait()
        asking.cancel()
        await server.engine.closed.wait()
        await server.router.released.wait()


async def test_observers_and_metrics_see_embeddings_too(serve):
    seen = []

    class Watching:
        @hookimpl
        def aiadmin_observe(self, exchange, events):
            async def watch():
                seen.append(exchange)
                async for event in events:
                    seen.append(event)
                    yield event

            return watch()

    async with serve(plugins=[("watching", Watching())]) as server:
        await server.embed(input=["ab", "c"])
        page = (await server.http.get("/metrics")).text
    exchange, started, embedded, finished = seen
    assert isinstance(exchange.request, EmbedRequest)
    assert exchange.endpoint == "/v1/embeddings"
    assert [type(event) for event in (started, embedded, finished)] == [Started, Embedded, Finished]
    assert started.prompt_tokens == finished.usage.prompt_tokens == 3
    assert 'aiadmin_prompt_tokens_total{model="echo:latest"} 3.0' in page
    assert 'aiadmin_requests_total{endpoint="/v1/embeddings",model="echo:latest",status="200"} 1.0' in page
