"""`POST /v1/embeddings`: vectors for texts, or for tokens."""

from typing import Any

from litestar import Request, post

from ....http.openapi import described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.dependencies import ServiceDependency
from .from_core import EmbeddingWriter
from .to_core import RANGES, embedding_call
from .wire import EmbeddingList, EmbeddingRequest


@post("/v1/embeddings", status_code=200, opt=described(EmbeddingRequest, EmbeddingList, ranges=RANGES))
async def create_embedding(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """A vector of length 1 for each input, in their order."""
    data, call = await read_as(request, EmbeddingRequest, embedding_call)
    as_base64 = data.encoding_format == "base64"
    return Answer(service, call, EmbeddingWriter(data.model, as_base64=as_base64), stream=False)
