"""`POST /api/chat`."""

from typing import Any

from litestar import Request, Response, post

from ....http.openapi import NDJSON, described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.dependencies import RouterDependency, ServiceDependency
from ..asking import streams
from ..unloading import unloaded, unloads
from .from_core import ChatWriter
from .to_core import chat_call
from .wire import ChatLine, NativeChatRequest


@post("/api/chat", status_code=200, opt=described(NativeChatRequest, ChatLine, event=ChatLine, stream=NDJSON))
async def chat(
    request: Request[Any, Any, Any], service: ServiceDependency, router: RouterDependency
) -> Answer | Response[bytes]:
    """Answer a conversation, in lines or whole; load or unload the model where there is none."""
    data, call = await read_as(request, NativeChatRequest, chat_call)
    writer = ChatWriter(data.model, asks=bool(call.requests))
    if unloads(call):
        return await unloaded(router, call, writer, stream=streams(data))
    return Answer(service, call, writer, stream=streams(data))
