"""`POST /v1/tokenize`, `/v1/detokenize` (without `/v1`, too, where llama-server and vLLM have them) and
`/v1/chat/completions/input_tokens`."""

from typing import Any

from litestar import Request, post

from ....http.openapi import described
from ....http.reading import read_as
from ....serving.answer import Answer
from ....serving.dependencies import ServiceDependency
from ..chat.wire import ChatCompletionRequest
from ..sampling import SHARED_RANGES
from .from_core import DetokenizedWriter, InputTokensWriter, TokensWriter
from .to_core import detokenize_call, input_tokens_call, tokenize_call
from .wire import DetokenizeRequest, InputTokens, Text, TokenizeRequest, Tokens


@post(["/v1/tokenize", "/tokenize"], status_code=200, opt=described(TokenizeRequest, Tokens))
async def tokenize(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """The tokens of a text, or of a conversation's prompt."""
    data, call = await read_as(request, TokenizeRequest, tokenize_call)
    writer = TokensWriter(strings=bool(data.return_token_strs), pieces=bool(data.with_pieces))
    return Answer(service, call, writer, stream=False)


@post(["/v1/detokenize", "/detokenize"], status_code=200, opt=described(DetokenizeRequest, Text))
async def detokenize(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """The text of tokens, control tokens spelled out."""
    _, call = await read_as(request, DetokenizeRequest, detokenize_call)
    return Answer(service, call, DetokenizedWriter(), stream=False)


@post(
    "/v1/chat/completions/input_tokens",
    status_code=200,
    opt=described(ChatCompletionRequest, InputTokens, ranges=SHARED_RANGES),
)
async def count_input_tokens(request: Request[Any, Any, Any], service: ServiceDependency) -> Answer:
    """How many tokens the prompt of a chat completion has: what its `usage.prompt_tokens` would say."""
    _, call = await read_as(request, ChatCompletionRequest, input_tokens_call)
    return Answer(service, call, InputTokensWriter(), stream=False)
