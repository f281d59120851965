"""Ranking as Jina, Cohere and vLLM have it: none of OpenAI's, and beside it."""

from .. import Api
from .envelope import envelope
from .route import rerank, rerank_as_cohere, score

API = Api(
    name="rerank",
    title="",
    paths=("/v1/rerank", "/rerank", "/v2/rerank", "/v1/score", "/score"),
    routes=(rerank, rerank_as_cohere, score),
    envelope=envelope,
)
