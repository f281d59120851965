"""`/v1/rerank` and `/v1/score` over HTTP."""

import math
import struct

import pytest

from aiadmin_core.errors import InputTooLong
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.vectors import Vectors

RANKS = Capabilities(generates=False, protocols=frozenset({"score"}))
EMBEDS = Capabilities(generates=False, protocols=frozenset({"embed"}))
DOCUMENTS = ["aa", {"text": "aaaa"}, "a", "bbbb"]


async def post(server, path="/v1/rerank", **fields):
    body = {"model": "echo", "query": "q", "documents": DOCUMENTS} | fields
    return await server.http.post(path, json={name: value for name, value in body.items() if value is not ...})


async def score(server, path="/v1/score", **fields):
    return await server.http.post(path, json={"model": "echo"} | fields)


async def angles(inputs):
    """A vector for each text, turned by a sixth of a right angle for each of its characters."""
    found = [(math.cos(len(text) * math.pi / 12), math.sin(len(text) * math.pi / 12)) for text in inputs]
    data = b"".join(struct.pack("<2f", *vector) for vector in found)
    return Vectors(data=data, n_dims=2, n_tokens=tuple(map(len, inputs)))


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
async def test_documents_come_best_first_with_what_they_are(serve, path):
    async with serve(capabilities=RANKS) as server:
        body = (await post(server, path)).json()
        assert server.engine.scored == [("q", ("aa", "aaaa", "a", "bbbb"), False)]
        assert body["results"] == [
            {"index": 1, "relevance_score": 0.0625, "document": {"text": "aaaa"}},
            {"index": 3, "relevance_score": 0.0625, "document": {"text": "bbbb"}},
            {"index": 0, "relevance_score": 0.03125, "document": {"text": "aa"}},
            {"index": 2, "relevance_score": 0.015625, "document": {"text": "a"}},
        ]
        assert body["usage"] == {"prompt_tokens": 15, "total_tokens": 15}
        assert (body["object"], body["model"]) == ("list", "echo")
        assert body["id"].startswith("rerank-")


async def test_only_the_best_are_told_and_without_documents(serve):
    async with serve(capabilities=RANKS) as server:
        body = (await post(server, top_n=2, return_documents=False)).json()
        assert body["results"] == [{"index": 1, "relevance_score": 0.0625}, {"index": 3, "relevance_score": 0.0625}]
        assert len((await post(server, top_n=99)).json()["results"]) == 4
        assert body["usage"]["total_tokens"] == 15, "all were read"


async def test_cohere_is_told_indices_unless_it_asks_for_more(serve):
    async with serve(capabilities=RANKS) as server:
        body = (await post(server, "/v2/rerank")).json()
        assert all(item.keys() == {"index", "relevance_score"} for item in body["results"])
        assert body["meta"] == {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 15, "output_tokens": 0},
        }
        shown = (await post(server, "/v2/rerank", return_documents=True)).json()["results"]
        assert shown[0]["document"] == {"text": "aaaa"}


async def test_similarity_is_the_cosine_of_embeddings(serve):
    async with serve(capabilities=EMBEDS, embedding=angles) as server:
        body = (await post(server, mode="similarity", truncate=True)).json()
        assert server.engine.embedded == [(("q", "aa", "aaaa", "a", "bbbb"), True)]
        assert [item["index"] for item in body["results"]] == [2, 0, 1, 3]
        expected = [1.0, math.cos(math.pi / 12), math.cos(math.pi / 4), math.cos(math.pi / 4)]
        assert [item["relevance_score"] for item in body["results"]] == pytest.approx(expected, abs=1e-6)
        assert body["usage"]["total_tokens"] == 12, "the query is read once"


async def test_a_model_that_does_not_rank_says_what_to_do_instead(serve):
    async with serve(capabilities=EMBEDS) as server:
        response = await post(server)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, "model", "unsupported_parameter")
        assert "ranks no documents" in error["message"]
        assert '"similarity"' in error["message"]
        assert response.json()["message"] == error["message"]
    async with serve(capabilities=RANKS) as server:
        assert "makes no embeddings" in (await post(server, mode="similarity")).json()["error"]["message"]


async def test_what_is_too_long_is_named_as_it_was_sent(serve):
    async def embedding(inputs):
        raise InputTooLong(n_tokens=99, n_most=9, param="inputs[2]")

    async with serve(capabilities=EMBEDS, embedding=embedding) as server:
        error = (await post(server, mode="similarity")).json()["error"]
        assert (error["param"], error["code"]) == ("documents[1]", "context_length_exceeded")
        error = (await score(server, text_1="a", text_2=["b", "c"])).json()["error"]
        assert error["param"] == "text_2[1]"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * 2049}, "documents"),
        ({"documents": [5]}, "documents[0]"),
        ({"documents": [{"image": "x"}]}, "documents[0].text"),
        ({"documents": "a"}, "documents"),
        ({"documents": ...}, "documents"),
        ({"query": ...}, "query"),
        ({"query": ["a"]}, "query"),
        ({"model": ...}, "model"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "a"}, "top_n"),
        ({"mode": "guess"}, "mode"),
        ({"max_tokens_per_doc": 5}, "max_tokens_per_doc"),
        ({"max_chunks_per_doc": 5}, "max_chunks_per_doc"),
        ({"rank_fields": ["title"]}, "rank_fields"),
    ],
)
async def test_what_cannot_be_ranked_is_refused_by_name(serve, fields, param):
    async with serve(capabilities=RANKS) as server:
        response = await post(server, **fields)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("names", [("text_1", "text_2"), ("queries", "documents")])
@pytest.mark.parametrize("path", ["/v1/score", "/score"])
async def test_one_text_is_scored_with_each_of_others(serve, names, path):
    async with serve(capabilities=RANKS) as server:
        body = (await score(server, path, **dict(zip(names, ("q", ["a", "aa"]), strict=True)))).json()
        assert body["data"] == [
            {"index": 0, "object": "score", "score": 0.015625},
            {"index": 1, "object": "score", "score": 0.03125},
        ]
        assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
        assert server.engine.scored == [("q", ("a", "aa"), False)]
        (one,) = (await score(server, path, **dict(zip(names, ("q", "a"), strict=True)))).json()["data"]
        assert one["score"] == 0.015625


async def test_as_many_texts_are_scored_pair_by_pair(serve):
    async with serve(capabilities=RANKS) as server:
        texts = ["a" * n for n in range(1, 33)]
        body = (await score(server, text_1=["q"] * 32, text_2=texts)).json()
        assert [item["score"] for item in body["data"]] == [n / 64 for n in range(1, 33)]
        assert [item["index"] for item in body["data"]] == list(range(32))


async def test_texts_are_scored_by_similarity_where_the_model_does_not_rank(serve):
    async with serve(capabilities=EMBEDS, embedding=angles) as server:
        (one,) = (await score(server, text_1="a", text_2="aaaaaaa")).json()["data"]
        assert one["score"] == pytest.approx(0, abs=1e-6)
        refused = await score(server, text_1="a", text_2="a", mode="ranking")
        assert refused.json()["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"text_2": "a"}, "text_1"),
        ({"text_1": "a"}, "text_2"),
        ({"text_1": "a", "queries": "b", "text_2": "c"}, "queries"),
        ({"text_1": [], "text_2": "a"}, "text_1"),
        ({"text_1": "a", "text_2": []}, "text_2"),
        ({"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_2"),
    ],
)
async def test_texts_that_do_not_go_together_are_refused_by_name(serve, fields, param):
    async with serve(capabilities=RANKS) as server:
        response = await score(server, **fields)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["param"] == param
