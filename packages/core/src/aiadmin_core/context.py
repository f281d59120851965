"""How many tokens of context a model is opened with. Used by backends, when they open one and when they estimate it.

Positions beyond those a model was trained for mean nothing to it: its answers get worse, without a word. So the context
ends where the training did, unless somebody chose a way to scale positions, and the backend has it.
"""

from .specs.model import EngineOptions


def context_length(options: EngineOptions, *, trained: int, unasked: int, scales: bool = False) -> int:
    """As asked, else `unasked`, but no more than was `trained` (0: unknown) where positions are not scaled. Pure."""
    wanted = options.n_ctx or unasked
    return min(wanted, trained) if trained and not scales else wanted


def chosen_scaling(options: EngineOptions) -> str:
    """The way to go beyond the trained context that was chosen; "" for none."""
    return "" if options.rope_scaling in (None, "none") else str(options.rope_scaling)


def context_notes(options: EngineOptions, *, trained: int, n_ctx: int, beyond: str = "") -> list[str]:
    """What an administrator should know of a context of `n_ctx` tokens. `beyond`: what to choose for more. Pure."""
    if not trained or not options.n_ctx or options.n_ctx <= trained:
        return []
    if n_ctx > trained:
        return [f"context of {n_ctx} tokens by {chosen_scaling(options)} scaling, trained with {trained}"]
    return [f"context of {n_ctx} tokens, as it was trained with ({options.n_ctx} were asked for){beyond}"]
