"""Documents are ranked by a ranking model, and by the cosine of real embeddings."""

from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.real_model
DOCUMENTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin lies on the Spree."]


@pytest.fixture(scope="module")
def url(product: Any, tiny_ranker: Path, minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    own = product.clone(tmp_path_factory.mktemp("rerank") / "state")
    own.run("pull", str(tiny_ranker), "--as", "ranker")
    own.run("pull", str(minilm_folder), "--as", "minilm", "--in-place")
    with own.serve() as server:
        yield server.base_url


def post(url: str, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(url + path, json=fields, timeout=60)


def test_a_ranking_model_ranks_and_scores_alike(url: str) -> None:
    words = ["a cat", "the dog sat", "b"]
    ranked = post(url, "rerank", model="ranker", query="cat", documents=words, top_n=3).json()["results"]
    scored = post(url, "score", model="ranker", text_1="cat", text_2=words).json()["data"]

    assert {item["index"]: item["relevance_score"] for item in ranked} == pytest.approx(
        {item["index"]: item["score"] for item in scored}, abs=1e-3
    )
    assert ranked == sorted(ranked, key=lambda item: -item["relevance_score"])
    assert all(0 < item["relevance_score"] < 1 for item in ranked)
    refused = post(url, "chat/completions", model="ranker", messages=[{"role": "user", "content": "hi"}])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    (listed,) = [one for one in httpx.get(url + "models").json()["data"] if one["id"] == "ranker"]
    assert listed["capabilities"] == ["rerank"]
    assert "max_output_tokens" not in listed


def test_embeddings_rank_where_that_is_asked_for(url: str) -> None:
    asked = {"model": "minilm", "query": "What is the capital of France?", "documents": DOCUMENTS}
    refused = post(url, "rerank", **asked)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")

    results = post(url, "rerank", **asked, mode="similarity").json()["results"]

    assert results[0]["index"] == 1
    assert results[0]["relevance_score"] > 0.6 > results[1]["relevance_score"]
    embedded = post(url, "embeddings", model="minilm", input=[asked["query"], DOCUMENTS[1]]).json()["data"]
    cosine = sum(a * b for a, b in zip(embedded[0]["embedding"], embedded[1]["embedding"], strict=True))
    assert results[0]["relevance_score"] == pytest.approx(cosine, abs=2e-3)
