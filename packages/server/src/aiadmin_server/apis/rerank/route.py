"""`POST /v1/rerank`, `/v2/rerank` and `/v1/score`, and without `/v1`."""

from typing import Any

from litestar import Request, post

from ...http.openapi import described
from ...http.reading import read_as
from ...serving.answer import Answer
from ...serving.dependencies import ServiceDependency
from .from_core import RankingWriter, ScoreWriter
from .to_core import rerank_call, score_call
from .wire import Ranking, RerankRequest, ScoreList, ScoreRequest


@post(["/v1/rerank", "/rerank"], status_code=200, opt=described(RerankRequest, Ranking))
async def rerank(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """Documents by how well they answer a query, best first."""
    data, call = await read_as(request, RerankRequest, rerank_call)
    writer = RankingWriter(data, version="1", shows_documents=data.return_documents is not False)
    return Answer(service, call, writer, stream=False)


@post("/v2/rerank", status_code=200, opt=described(RerankRequest, Ranking))
async def rerank_as_cohere(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """The same by indices, unless `return_documents` asks for more."""
    data, call = await read_as(request, RerankRequest, rerank_call)
    writer = RankingWriter(data, version="2", shows_documents=bool(data.return_documents))
    return Answer(service, call, writer, stream=False)


@post(["/v1/score", "/score"], status_code=200, opt=described(ScoreRequest, ScoreList))
async def score(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """How well each text answers another, in the order in which they were sent."""
    data, call = await read_as(request, ScoreRequest, score_call)
    return Answer(service, call, ScoreWriter(data.model), stream=False)
