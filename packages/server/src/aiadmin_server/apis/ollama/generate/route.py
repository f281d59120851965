"""`POST /api/generate`."""

from typing import Any

from litestar import Request, Response, post

from ....http.openapi import NDJSON, described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.dependencies import RouterDependency, ServiceDependency
from ..asking import streams
from ..unloading import unloaded, unloads
from .from_core import GenerateWriter
from .to_core import generate_call
from .wire import GenerateBody, GenerateLine


@post("/api/generate", status_code=200, opt=described(GenerateBody, GenerateLine, event=GenerateLine, stream=NDJSON))
async def generate(
    request: Request[Any, Any, Any], service: ServiceDependency, router: RouterDependency
) -> Answer | Response[bytes]:
    """Go on from a prompt, in lines or whole; load or unload the model where there is none."""
    data, call = await read_as(request, GenerateBody, generate_call)
    writer = GenerateWriter(data.model, asks=bool(call.requests))
    if unloads(call):
        return await unloaded(router, call, writer, stream=streams(data))
    return Answer(service, call, writer, stream=streams(data))
