"""`POST /v1/chat/completions`."""

import secrets
import time
from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ....http.errors import read_body
from ....http.reading import decode
from ....serving.answer import Answer
from ....serving.exchange import Service
from ....serving.ports import Lease
from .from_core import ChatFormat, Head, fingerprint
from .to_core import chat_call
from .wire import ChatCompletionRequest


@post("/v1/chat/completions", status_code=200)
async def create_chat_completion(
    request: Request[Any, Any, Any], service: NamedDependency[SkipValidation[Service]]
) -> Answer:
    """Answer a conversation, whole or streamed."""
    decoded = decode(await read_body(request), ChatCompletionRequest)
    data = decoded.data
    options = data.stream_options
    include_usage = bool(options and options.include_usage)
    return Answer(
        service,
        chat_call(decoded),
        lambda opened: ChatFormat(
            new_head("chatcmpl-", data.model, opened.lease), n=opened.n_choices, include_usage=include_usage
        ),
        stream=bool(data.stream),
    )


def new_head(prefix: str, model: str, lease: Lease) -> Head:
    """What the chunks of a new response repeat."""
    return Head(
        id=prefix + secrets.token_hex(16),
        created=int(time.time()),
        model=model,
        system_fingerprint=fingerprint(lease.backend, lease.spec.digest),
    )
