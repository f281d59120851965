"""`POST /v1/completions`: text or tokens continued as they are, without a chat template."""

from typing import Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from aiadmin_core.specs.request import TextInput

from ....http.errors import read_body
from ....http.reading import decode
from ....serving.answer import Answer
from ....serving.exchange import Service
from ..chat.route import new_head
from ..chat.to_core import Call, completion_call
from ..chat.wire import CompletionRequest
from .from_core import Best, TextFormat


@post("/v1/completions", status_code=200)
async def create_completion(
    request: Request[Any, Any, Any], service: NamedDependency[SkipValidation[Service]]
) -> Answer:
    """Continue one or several prompts, whole or streamed."""
    decoded = decode(await read_body(request), CompletionRequest)
    data = decoded.data
    call = completion_call(decoded)
    options = data.stream_options
    n, best_of = data.n or 1, data.best_of or data.n or 1
    best = Best(n=n, best_of=best_of, show_logprobs=data.logprobs is not None) if best_of > n else None
    return Answer(
        service,
        call,
        lambda opened: TextFormat(
            new_head("cmpl-", data.model, opened.lease),
            echo=_beginnings(call, echo=bool(data.echo)),
            include_usage=bool(options and options.include_usage),
            best=best,
        ),
        stream=bool(data.stream),
    )


def _beginnings(call: Call, *, echo: bool) -> list[str]:
    """What each choice's text begins with: its prompt, where that is asked for."""
    return [
        request.input.text if echo and isinstance(request.input, TextInput) else ""
        for request in call.requests
        for _ in range(request.n)
    ]
