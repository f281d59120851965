"""From a request to a sequence that can be scheduled: everything that can be refused is refused here."""

import numpy as np

from aiadmin_core.backend import TokenRequest
from aiadmin_core.errors import BadRequest, ContextLengthExceeded, UnsupportedParameter
from aiadmin_core.specs.prompt import TokenSegment

from .tokens import Tokens


def check(request: TokenRequest, *, n_ctx: int, n_vocab: int, n_parallel: int) -> Tokens:
    """The prompt's tokens.

    Core refuses most of this earlier and more politely; a token id out of range would end the process.
    Raises `BadRequest`.
    """
    if request.adapters:
        raise UnsupportedParameter("adapters")
    if request.n > n_parallel:
        raise BadRequest(f"At most {n_parallel} choices at once, not {request.n}.", param="n")
    tokens = _tokens(request)
    if len(tokens) == 0:
        raise BadRequest("The prompt is empty.", hint="Send at least one token.", param="prompt")
    if tokens.min() < 0 or tokens.max() >= n_vocab:
        raise BadRequest(f"Token ids lie between 0 and {n_vocab - 1}.", param="prompt")
    if len(tokens) >= n_ctx:
        raise ContextLengthExceeded(n_prompt=len(tokens), n_ctx=n_ctx)
    return tokens.astype(np.int32)


def _tokens(request: TokenRequest) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    parts = []
    for segment in request.prompt:
        if not isinstance(segment, TokenSegment):
            raise UnsupportedParameter("content", why=f"this model reads no {segment.kind}.")
        parts.append(np.asarray(segment.tokens, np.int64))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
