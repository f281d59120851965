"""How many tokens of context a model is opened with. Used by backends, when they open one and when they estimate it.

Positions beyond those a model was trained for mean nothing to it: its answers get worse, without a word. So the context
ends where the training did, unless somebody chose a way to scale positions, and the backend has it.
"""

from .specs.model import EngineOptions

MOST_UNASKED = 32_768
"""A longer context is opened for who asks for it: its cache takes memory, and most conversations end before."""
LEAST_UNASKED = 4_096
"""A conversation needs so much. Where memory holds less, the model is to be loaded in another's place, or refused."""
MEMORY_SHARE = 0.5
"""Of the memory that a model's weights leave free: the rest is for other models, and for what else the machine does."""
_ROUND = 256
"""Contexts are multiples of this (llama.cpp pads them to it)."""


def unasked_context(*, trained: int, token_bytes: int, free_bytes: int | None) -> int:
    """Tokens of context for a model that nobody asked a length of: those it was trained with (0: unknown), as far as
    half of the memory holds them.

    `token_bytes`: what one token's keys and values take, 0 where none are kept. `free_bytes`: memory that is left
    beside the weights, None where that is unknown. Pure.
    """
    most = min(trained, MOST_UNASKED) if trained else LEAST_UNASKED
    if not token_bytes or free_bytes is None:
        return most
    held = int(max(0, free_bytes) * MEMORY_SHARE) // token_bytes // _ROUND * _ROUND
    return min(most, max(held, LEAST_UNASKED))


def context_length(options: EngineOptions, *, trained: int, unasked: int, scales: bool = False) -> int:
    """As asked, else `unasked`, but no more than was `trained` (0: unknown) where positions are not scaled. Pure."""
    wanted = options.n_ctx or unasked
    return min(wanted, trained) if trained and not scales else wanted


def chosen_scaling(options: EngineOptions) -> str:
    """The way to go beyond the trained context that was chosen; "" for none."""
    return "" if options.rope_scaling in (None, "none") else str(options.rope_scaling)


def context_notes(options: EngineOptions, *, trained: int, n_ctx: int, beyond: str = "") -> list[str]:
    """What an administrator should know of a context of `n_ctx` tokens. `beyond`: what to choose for more. Pure."""
    if not options.n_ctx:
        return [_cut(n_ctx, trained)] if n_ctx < trained else []
    if not trained or options.n_ctx <= trained:
        return []
    if n_ctx > trained:
        return [f"context of {n_ctx} tokens by {chosen_scaling(options)} scaling, trained with {trained}"]
    return [f"context of {n_ctx} tokens, as it was trained with ({options.n_ctx} were asked for){beyond}"]


def _cut(n_ctx: int, trained: int) -> str:
    """Why a context that nobody asked for is shorter than it could be."""
    why = "no more is opened unasked" if n_ctx == MOST_UNASKED else "half of the free memory holds no more"
    return f"context of {n_ctx} of the {trained} tokens it was trained with: {why}"
