"""What a decode step is made of, and how much of a prompt fits into one. Used by the backends' schedulers; pure."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Sequence = TypeVar("Sequence")

PieceKind = Literal["prefill", "decode", "draft", "media"]


@dataclass(frozen=True, slots=True)
class Piece(Generic[Sequence]):
    """The next `n` positions of one sequence, decoded together with the other pieces of the step."""

    sequence: Sequence
    n: int
    kind: PieceKind
    """"prefill": tokens of a prompt; "decode": the token sampled last; "draft": that one and drafted ones after it, to
    be verified; "media": an image or a sound, whole, decoded apart from tokens and never cut."""
    rows: tuple[int, ...] = ()
    """Which of the positions, counted from the piece's first, give a row of logits, ascending: the last one of a
    prompt's last piece and of "decode", all of "draft", none of a prompt that goes on; of a
    prompt whose own log-probabilities are wanted, all that have not been reported."""


class PrefillPace:
    """How fast prompts are read here, measured, and so how many of their tokens a step may have."""

    def __init__(self, tokens_per_s: float = 0.0) -> None:
        """`tokens_per_s`: as a warm-up measured it; 0 is unknown."""
        self.tokens_per_s = tokens_per_s

    def observe(self, *, n_tokens: int, seconds: float) -> None:
        """A step with `n_tokens`, most of them a prompt's, took `seconds`. Short ones count less: the fixed cost of a
        step is most of theirs."""
        if seconds <= 0:
            return
        speed = n_tokens / seconds
        weight = min(0.5, n_tokens / 64)
        before = self.tokens_per_s or speed
        self.tokens_per_s = before * (1 - weight) + speed * weight

    def chunk(self, *, seconds: float, least: int, most: int) -> int:
        """Tokens that are read in `seconds`, a multiple of `least` (below which the fixed cost of a step dominates) and
        no more than `most`; `most` where the speed is not known yet."""
        if self.tokens_per_s <= 0:
            return most
        wanted = int(self.tokens_per_s * seconds)
        return min(most, max(least, wanted - wanted % least))
