"""`POST /v1/completions`: text or tokens continued as they are, without a chat template."""

from typing import Any

from litestar import Request, post

from aiadmin_core.specs.request import GenerateRequest, TextInput

from ....http.openapi import described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.call import Call
from ....serving.dependencies import ServiceDependency
from ..streaming import includes_usage, new_head
from .from_core import Best, TextWriter
from .to_core import RANGES, completion_call
from .wire import CompletionRequest, TextCompletion


@post(
    "/v1/completions",
    status_code=200,
    opt=described(CompletionRequest, TextCompletion, event=TextCompletion, ranges=RANGES),
)
async def create_completion(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """Continue one or several prompts, whole or streamed."""
    data, call = await read_as(request, CompletionRequest, completion_call)
    n, best_of = data.n or 1, data.best_of or data.n or 1
    best = Best(n=n, best_of=best_of) if best_of > n else None
    return Answer(
        service,
        call,
        TextWriter(
            new_head("cmpl-", data.model),
            echo=_beginnings(call) if data.echo else [""] * len(call.requests),
            n=best_of,
            include_usage=includes_usage(data.stream_options),
            best=best,
            scored=any(isinstance(request, GenerateRequest) and request.score_prompt for request in call.requests),
            show_logprobs=data.logprobs is not None,
        ),
        stream=bool(data.stream),
    )


def _beginnings(call: Call) -> list[str | None]:
    """What each prompt's texts begin with: the prompt, as far as that is text."""
    return [
        request.input.text if isinstance(request.input, TextInput) else None
        for request in call.requests
        if isinstance(request, GenerateRequest)
    ]
