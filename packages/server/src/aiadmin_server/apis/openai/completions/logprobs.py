"""Log-probabilities as completions tell them: lists of equal length, an item for each token. Pure."""

import codecs
from collections.abc import Sequence

from aiadmin_core.specs import events as core

from ....serving.logprobs import as_bytes, finite, spelled
from . import wire


def text_logprobs(
    tokens: Sequence[core.TokenLogprob | core.PromptToken], offset: int, held: tuple[bytes, int] = (b"", 0)
) -> wire.TextLogprobs | None:
    """`offset` is where the first token starts in the choice's text, in characters; below 0 is in front of it. `held`:
    the state of a decoder, where tokens before these began a character."""
    if not tokens:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be several tokens
    decoder.setstate(held)
    offsets: list[int] = []
    for item in tokens:
        offsets.append(max(0, offset))
        offset += len(decoder.decode(item.bytes))
    return wire.TextLogprobs(
        tokens=[spelled(item.bytes) for item in tokens],
        token_logprobs=[None if item.logprob is None else finite(item.logprob) for item in tokens],
        top_logprobs=[None if item.logprob is None else _alternatives(item.top) for item in tokens],
        text_offset=offsets,
    )


def together(first: wire.TextLogprobs | None, then: wire.TextLogprobs | None) -> wire.TextLogprobs | None:
    if first is None or then is None:
        return first or then
    return wire.TextLogprobs(
        tokens=first.tokens + then.tokens,
        token_logprobs=first.token_logprobs + then.token_logprobs,
        top_logprobs=first.top_logprobs + then.top_logprobs,
        text_offset=first.text_offset + then.text_offset,
    )


def _alternatives(top: Sequence[core.Alternative]) -> dict[str, float]:
    """Each by its text; of several that look the same the later ones by their bytes, or their ids."""
    found: dict[str, float] = {}
    for other in top:
        names = (spelled(other.bytes), as_bytes(other.bytes), f"token_id:{other.token}")
        found[next((name for name in names if name not in found), names[-1])] = finite(other.logprob)
    return found
