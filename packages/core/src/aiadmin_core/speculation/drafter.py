"""What one choice guesses about its own next tokens, and how sure that is. Engine thread only."""

from collections.abc import Iterable, Sequence

from .acceptance import AT_FIRST, EXPECTED, Acceptance
from .lookup import Beginning, Lookup


class Drafter:
    """Told of every token of its choice, it knows what may follow, or whether to ask a draft model."""

    def __init__(self, beginning: Beginning, *, has_model: bool = False) -> None:
        """`has_model`: there is a draft model to ask."""
        self._lookup = Lookup(beginning)
        self._acceptance = Acceptance(EXPECTED if beginning.predicted else AT_FIRST)
        # Only what it is asked tells how good the model is, so it is trusted at first.
        self._of_model = Acceptance(EXPECTED) if has_model else None
        self._told: list[int] = []  # by the model, of what has not been chosen yet

    @property
    def asks_model(self) -> bool:
        """Whether the draft model is more likely to be right than what was said before, which costs nothing."""
        if self._of_model is None:
            return False
        return not self._lookup.guesses or next(self._of_model.chances()) > next(self._acceptance.chances())

    def chances(self) -> Iterable[float]:
        """That the first guessed token comes true, that the first two do, and so on; nothing where none is guessed."""
        if self._of_model is not None and self.asks_model:
            return self._of_model.chances()
        return self._acceptance.chances() if self._lookup.guesses else ()

    def guess(self, n: int) -> list[int]:
        """At most `n` tokens that may come next, by what was said before."""
        return self._lookup.guess(n)

    def told(self, tokens: Sequence[int]) -> None:
        """The draft model takes these for the next ones."""
        self._told = [*tokens]

    def accept(self, token: int) -> bool:
        """`token` was chosen. Whether the client's prediction has it in its place."""
        n_foretold = self._lookup.n_foretold
        hit = self._lookup.append(token)
        if hit is not None:
            self._acceptance.observe(hit=hit)
        if self._of_model is not None and self._told:
            right = self._told.pop(0) == token
            self._of_model.observe(hit=right)
            self._told = self._told if right else []
        return self._lookup.n_foretold > n_foretold
