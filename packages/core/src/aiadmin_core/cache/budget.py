"""What is given up first when a budget is spent. Pure."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from .prefix_tree import Node

V = TypeVar("V")

WORTH_OF_READING = 0.5
"""Share of the time it takes to read a token that saving its state may take."""


MOST_USES = 8
"""Uses that count. What was popular once goes after as many turns of the whole budget without being of use."""


def worth(*, floor: float, n_uses: int, n_tokens: int, n_bytes: int) -> float:
    """What keeping a state is worth: the tokens it saved for each byte it takes, on top of `floor`, the worth of what
    had last been given up when it was last of use. So whatever nobody asks for any more ages, as the floor rises to it,
    and a thousand prompts that come once do not push out one that all others begin with. (Greedy dual, by size and
    frequency: L. Cherkasova, HPL-98-69R1.)"""
    return floor + min(n_uses, MOST_USES) * n_tokens / max(1, n_bytes)


def worth_of(node: Node[V], n_bytes: Callable[[V], int]) -> float:
    """The same, of a node whose value takes `n_bytes`."""
    return worth(floor=node.floor, n_uses=node.n_uses, n_tokens=len(node.tokens), n_bytes=n_bytes(node.value))


def next_to_go(nodes: Iterable[Node[V]], n_bytes: Callable[[V], int]) -> Node[V] | None:
    """Of nodes nothing follows, the one worth least; of equals the one that was of use longest ago, and then the one
    furthest from the start, since fewer prompts get that far."""
    leaves = [node for node in nodes if not node.children]
    return min(leaves, key=lambda node: (worth_of(node, n_bytes), node.used_at, -node.start), default=None)


def worth_reading(*, n_tokens: int, n_bytes: int, tokens_per_s: float, bytes_per_s: float, load_s: float = 0.0) -> bool:
    """Whether bringing a state back takes less time than computing it again: `n_bytes` of it are in files, and putting
    it into the cache takes `load_s` seconds a token. Speeds of 0 are unknown, and what is unknown takes no time: it
    mostly pays. `n_tokens` is 1 or more."""
    if tokens_per_s <= 0:
        return True
    from_files = n_bytes / bytes_per_s if bytes_per_s > 0 else 0.0
    return from_files + n_tokens * load_s < n_tokens / tokens_per_s


def worth_saving(*, save_s: float, tokens_per_s: float) -> bool:
    """Whether keeping a token's state is cheap beside computing it again, which nobody may ever ask for. `save_s`:
    seconds a token. 0 is unknown: it mostly is."""
    return save_s * tokens_per_s <= WORTH_OF_READING
