"""What one choice guesses about its own next tokens, and how sure that is. Engine thread only."""

from collections.abc import Iterable

from .acceptance import AT_FIRST, EXPECTED, Acceptance
from .lookup import Beginning, Lookup


class Drafter:
    """Told of every token of its choice, it knows what may follow."""

    def __init__(self, beginning: Beginning) -> None:
        self._lookup = Lookup(beginning)
        self._acceptance = Acceptance(EXPECTED if beginning.predicted else AT_FIRST)

    def chances(self) -> Iterable[float]:
        """That the first guessed token comes true, that the first two do, and so on; nothing where none is guessed."""
        return self._acceptance.chances() if self._lookup.guesses else ()

    def guess(self, n: int) -> list[int]:
        """At most `n` tokens that may come next."""
        return self._lookup.guess(n)

    def accept(self, token: int) -> bool:
        """`token` was chosen. Whether the client's prediction has it in its place."""
        n_foretold = self._lookup.n_foretold
        hit = self._lookup.append(token)
        if hit is not None:
            self._acceptance.observe(hit=hit)
        return self._lookup.n_foretold > n_foretold
