"""`POST /v1/chat/completions`."""

from typing import Any

from litestar import Request, post

from ....http.openapi import described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.dependencies import ServiceDependency
from ..sampling import SHARED_RANGES
from ..streaming import includes_usage, new_head
from .from_core import ChatWriter
from .to_core import chat_call
from .tools import telling
from .wire import ChatCompletion, ChatCompletionChunk, ChatCompletionRequest


@post(
    "/v1/chat/completions",
    status_code=200,
    opt=described(ChatCompletionRequest, ChatCompletion, event=ChatCompletionChunk, ranges=SHARED_RANGES),
)
async def create_chat_completion(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """Answer a conversation, whole or streamed."""
    data, call = await read_as(request, ChatCompletionRequest, chat_call)
    return Answer(
        service,
        call,
        ChatWriter(
            new_head("chatcmpl-", data.model),
            n=call.n_choices,
            include_usage=includes_usage(data.stream_options),
            telling=telling(data),
        ),
        stream=bool(data.stream),
    )
