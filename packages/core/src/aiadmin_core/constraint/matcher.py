"""One choice's constraint as the engine meets it: a mask a step, computed while the model decodes.

A `GrammarMatcher` belongs to one choice. Its grammar state is touched by one thread at a time: the worker that a
`commit` hands it to, until `mask` has waited for that worker. Used by the engine thread, through `backend.Matcher`.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import takewhile

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from ..errors import AiAdminError, BadRequest
from .closing import Closing, reserve

Mask = NDArray[np.int32]


class GrammarMatcher:
    """Keeps a choice to a grammar.

    `state` is this choice's own `LLMatcher`. End tokens are allowed exactly where the grammar can end; once it is
    complete nothing else is. Where `closing` is given, an answer that comes near `limit` tokens is brought to its end
    (see `closing`). `mask` raises `BadRequest` where the grammar proves too complex for llguidance's limits,
    which shows only as text comes.
    """

    def __init__(
        self,
        state: LLMatcher,
        n_vocab: int,
        end_tokens: frozenset[int],
        closing: Closing | None = None,
        limit: int = 0,
    ) -> None:
        self._state = state
        self._closing = closing
        self._close_from = limit - reserve(limit)
        self.closed = False
        """Whether the answer was brought to its end."""
        self._end_tokens = end_tokens
        self._words = np.zeros((n_vocab + 31) // 32, dtype=np.int32)
        self._ends = token_bits(end_tokens, n_vocab)
        self._consumed: list[bool] = []
        """Of each token committed, whether the grammar consumed it: end tokens are none of its business."""
        self._next: Future[Mask] = _workers().submit(self._compute)

    def mask(self) -> Mask:
        """int32[ceil(n_vocab / 32)], valid until `commit`."""
        return self._next.result()

    def commit(self, token: int) -> None:
        self._next.result()  # the state is this thread's again
        self._consumed.append(token not in self._end_tokens)
        if self._consumed[-1]:
            self._next = _workers().submit(self._advance, token)

    def try_commit(self, tokens: Sequence[int]) -> int:
        """See `backend.Matcher`. End tokens are refused: nothing can be drafted past them."""
        self._next.result()
        before_end = [*takewhile(lambda token: token not in self._end_tokens, tokens)]
        n: int = self._state.try_consume_tokens(before_end)
        if n:
            self._consumed += [True] * n
            self._next = _workers().submit(self._compute)
        return n

    def rollback(self, n: int) -> None:
        """See `backend.Matcher`. Not past a token that the grammar refused."""
        self._next.result()
        first = len(self._consumed) - n
        assert first >= 0, "more than was committed"
        n_consumed = sum(self._consumed[first:])
        del self._consumed[first:]
        if n_consumed:
            self._state.rollback(n_consumed)
            self._next = _workers().submit(self._compute)

    def _advance(self, token: int) -> Mask:
        if not self._state.consume_token(token):
            raise _grammar_error(self._state)
        return self._compute()

    def _compute(self) -> Mask:
        if self._state.is_stopped() and not self._state.is_error():
            self._words[:] = self._ends
            return self._words
        self._words[:] = 0
        computed = np.frombuffer(self._state.compute_bitmask(), dtype=np.int32)
        if self._state.is_error():
            raise _grammar_error(self._state)
        n = min(len(computed), len(self._words))
        self._words[:n] = computed[:n]
        self._words &= ~self._ends
        if self._state.is_accepting():
            self._words |= self._ends
        if self._closing is not None and len(self._consumed) >= self._close_from:
            self._close(self._closing)
        return self._words

    def _close(self, closing: Closing) -> None:
        allowed = self._words
        left = self._ends if self._state.is_accepting() else closing.narrowed(allowed)
        self.closed = self.closed or bool((allowed & ~left).any())
        self._words &= left


def token_bits(tokens: frozenset[int], n_vocab: int) -> Mask:
    """`tokens` as a bitmask: int32[ceil(n_vocab / 32)]."""
    bits = np.zeros((n_vocab + 31) // 32, dtype=np.uint32)
    for token in tokens:
        bits[token // 32] |= np.uint32(1 << (token % 32))
    return bits.view(np.int32)


def _grammar_error(state: LLMatcher) -> AiAdminError:
    reason = state.get_error().split("\n", 1)[0]
    return BadRequest(f"The answer's format cannot be enforced any further: {reason}", param="constraint")


@cache
def _workers() -> ThreadPoolExecutor:
    """Shared by every choice of the runner. A mask takes tens of microseconds without the GIL: few threads do."""
    return ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 2) // 2)), thread_name_prefix="aiadmin-mask")
