"""Long prompts, read in a context of their own. Called by the loop, on the engine thread.

ggml passes over F16 keys and values tile by tile where a step has 64 rows or more, two to three times as fast as it
does with the types that give the same bits in every step (`exactness`): by 512 at a time SmolLM2 reads 6,000 tokens
in 64 s instead of 156. So where nobody asked for an answer that can be had again, and nobody is waiting for a next
token, a long prompt is read with F16 keys, piece by piece. What was computed goes to its slot after each, keys rounded
to BF16. The memory is taken when there is such a prompt, and given back when nothing runs.
"""

from collections.abc import Callable

from ..native.context import Context
from ..native.key_types import with_keys
from .kv import Slot

LONG = 1024
"""Tokens of a prompt for this to be worth it: with fewer in the cache, tiles are hardly faster."""

LEAST = 64
"""Rows of a step for ggml to take tiles (`ggml_fa_tile_config::Q`)."""

SEQUENCE = 0
"""The prompt's id in its own context."""

COPIED = 512
"""Tokens that are copied at once."""


def tiled_chunk(n_missing: int, n_prefill: int, n_batch: int) -> int:
    """How many tokens of a prompt to read next, about `n_prefill`, so that no step has fewer than `LEAST`. The last one
    is left to the context that decodes, for its logits. `n_missing` is more than `LEAST`. Pure."""
    n, left = min(max(n_prefill, LEAST), n_batch), n_missing - 1
    if left - n >= LEAST:
        return n
    return left if left <= n_batch else max(LEAST, n - LEAST)


class LongPrompts:
    """One prompt at a time, into the slots of `main`, whose keys are BF16."""

    def __init__(self, main: Context, open: Callable[[int], Context | None]) -> None:
        """`open` makes a context with F16 keys and values for so many tokens; None where there is no memory for it."""
        self._main = main
        self._open = open
        self._own: Context | None = None
        self._slot: Slot | None = None
        self._n = 0
        """Tokens of the slot that the context of its own holds."""

    def prepare(self, slot: Slot) -> Context | None:
        """The context to read more of `slot`'s prompt in, as sequence `SEQUENCE`; it holds what the slot does. None
        where that cannot be had now."""
        if self._own is None or self._own.n_ctx < slot.tokens.n:
            self.close()
            self._own = self._open(slot.tokens.n)
        own = self._own
        if own is None:
            return None
        if self._slot is not slot or self._n > slot.n:
            own.clear()
            self._slot, self._n = slot, 0
        while self._n < slot.n:
            end = min(self._n + COPIED, slot.n)
            state = with_keys(self._main.save(slot.id, self._n, end), "f16")
            if state is None or not own.load(state, SEQUENCE, self._n, self._n, end):
                self.close()
                return None
            self._n = end
        return own

    def hand_over(self, n: int, *, hold: bool) -> bool:
        """`n` more tokens were decoded in the context of its own: put them into the slot, which has room for them.
        False, and they are not there, where that cannot be done."""
        own, slot = self._own, self._slot
        assert own is not None
        assert slot is not None
        start, end = self._n, self._n + n
        state = with_keys(own.save(SEQUENCE, start, end), "bf16")
        if state is None or not self._main.load(state, slot.id, start, start, end, hold=hold):
            self.close()
            return False
        self._n = end
        return True

    def close(self) -> None:
        """Give the memory back."""
        if self._own is not None:
            self._own.close()
        self._own = self._slot = None
