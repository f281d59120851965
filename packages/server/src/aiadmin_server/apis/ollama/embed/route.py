"""`POST /api/embed`, and `POST /api/embeddings`, which it replaced."""

from typing import Any

from litestar import Request, post

from ....http.openapi import described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.dependencies import ServiceDependency
from .from_core import EmbedWriter, OldEmbedWriter
from .to_core import embed_call, old_embed_call
from .wire import Embeddings, NativeEmbedRequest, OldEmbedding, OldEmbedRequest


@post("/api/embed", status_code=200, opt=described(NativeEmbedRequest, Embeddings))
async def embed(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """A vector of length 1 for each input, in their order."""
    data, call = await read_as(request, NativeEmbedRequest, embed_call)
    return Answer(service, call, EmbedWriter(data.model), stream=False)


@post("/api/embeddings", status_code=200, opt=described(OldEmbedRequest, OldEmbedding))
async def embeddings(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """The same for one text."""
    _, call = await read_as(request, OldEmbedRequest, old_embed_call)
    return Answer(service, call, OldEmbedWriter(), stream=False)
