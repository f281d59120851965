"""From a request to a job that an engine can do: everything that can be refused is refused here.

Core refuses most of this earlier and more politely; but a token id out of range would end the process.
"""

from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .backend import TokenRequest
from .errors import BadRequest, ContextLengthExceeded, UnsupportedParameter
from .sampling.logprobs import Likelihood
from .specs.prompt import MediaSegment, TokenSegment

Tokens = npt.NDArray[np.int32]

MEDIA = -1
"""Stands in `Job.tokens` at every position that an image or a sound takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an engine can be asked."""

    n_ctx: int
    """Positions of a prompt and its answer."""
    n_vocab: int
    """Token ids below this one may be read and come out."""
    n_parallel: int
    """Most choices decoded together."""
    adapters: Container[str] | None = None
    """Digests of the adapters that are loaded, a live view; None: it applies none."""
    media: frozenset[str] = frozenset()
    """Kinds of `MediaSegment` it reads."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """A request on the engine thread, which alone touches it. Times are `time.monotonic` seconds; 0 is not yet."""

    request: TokenRequest
    tokens: Tokens
    """The prompt, a position each; `MEDIA` where `media` has it."""
    media: tuple[tuple[int, MediaSegment], ...] = ()
    """(first position, segment) of each image and sound. Decoded whole: never cut in the middle."""
    max_tokens: int
    """For each choice; never more than the context has room for."""
    arrival: int = 0
    """Counts up: who came first."""
    submitted_at: float = 0.0
    admitted_at: float = 0.0
    prefilled_at: float = 0.0
    n_cached: int = 0
    scores: list[Likelihood] = field(default_factory=list)
    """Of the prompt's tokens from the second on, as far as they are known, where `request.score_prompt` asks."""
    n_told: int = 0
    """Of `scores`, what has been reported."""

    @property
    def n_prompt(self) -> int:
        return len(self.tokens)

    @property
    def n_scored(self) -> int:
        """Positions of the prompt that need give no logits any more."""
        return len(self.scores)

    @property
    def scores_are_due(self) -> bool:
        return self.n_scored < self.n_to_score

    @property
    def n_to_score(self) -> int:
        """Positions of the prompt whose logits are to be reported: each but the last has the next token's."""
        return self.n_prompt - 1 if self.request.score_prompt else 0

    @property
    def order(self) -> tuple[int, int]:
        """Sorts by priority, then arrival."""
        return (-self.request.priority, self.arrival)

    @property
    def reproducible(self) -> bool:
        """Whether the same request should give the same text again, to the last bit of its logits."""
        return self.request.sampling.seed is not None


def make_job(request: TokenRequest, limits: Limits, *, arrival: int = 0, submitted_at: float = 0.0) -> Job:
    """What `request` asks for, checked.

    Raises `BadRequest` for what would crash the model, or could never be admitted.
    """
    if request.adapters:
        _check_adapters(request, limits.adapters)
    if request.n > limits.n_parallel:
        raise UnsupportedParameter("n", why=f"this model gives at most {limits.n_parallel} choices at once.")
    tokens, media = _positions(request, limits)
    _check_ids(np.asarray(list(request.sampling.logit_bias), np.int64), limits, param="logit_bias")
    if len(tokens) == 0:
        raise BadRequest("The prompt is empty.", hint="Send at least one token.", param="prompt")
    if len(tokens) >= limits.n_ctx:
        raise ContextLengthExceeded(n_prompt=len(tokens), n_ctx=limits.n_ctx)
    return Job(
        request=request,
        tokens=tokens,
        media=media,
        max_tokens=min(request.max_tokens, limits.n_ctx - len(tokens)),
        arrival=arrival,
        submitted_at=submitted_at,
    )


def _check_adapters(request: TokenRequest, loaded: Container[str] | None) -> None:
    if loaded is None:
        raise UnsupportedParameter("adapters")
    for adapter in request.adapters:
        if adapter.digest not in loaded:
            raise BadRequest(
                f"The adapter {adapter.digest} is not loaded.", hint="`load_adapter` comes first.", param="adapters"
            )


def _positions(request: TokenRequest, limits: Limits) -> tuple[Tokens, tuple[tuple[int, MediaSegment], ...]]:
    parts: list[Tokens] = []
    media: list[tuple[int, MediaSegment]] = []
    n = 0
    for segment in request.prompt:
        if isinstance(segment, TokenSegment):
            ids = np.asarray(segment.tokens, np.int64)
            _check_ids(ids, limits, param="prompt")
            parts.append(ids.astype(np.int32))
        elif segment.kind in limits.media:
            media.append((n, segment))
            parts.append(np.full(segment.n_positions, MEDIA, np.int32))
        else:
            raise UnsupportedParameter("messages", why=f"this model reads no {segment.kind}.")
        n += len(parts[-1])
    return (np.concatenate(parts) if parts else np.empty(0, np.int32)), tuple(media)


def _check_ids(ids: "npt.NDArray[np.int64]", limits: Limits, *, param: str) -> None:
    if len(ids) and (ids.min() < 0 or ids.max() >= limits.n_vocab):
        raise BadRequest(f"Token ids lie between 0 and {limits.n_vocab - 1}.", param=param)
