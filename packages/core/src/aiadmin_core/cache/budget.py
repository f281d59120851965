"""What is given up first when a budget is spent. Pure."""

from collections.abc import Iterable
from typing import TypeVar

from .prefix_tree import Node

V = TypeVar("V")


def next_to_go(nodes: Iterable[Node[V]]) -> Node[V] | None:
    """Of nodes nothing follows, the one that was of use longest ago; of equals the one furthest from the start, since
    fewer prompts get that far. (A token costs as many bytes wherever it stands, and about as much to compute: there is
    nothing else to weigh.)"""
    leaves = [node for node in nodes if not node.children]
    return min(leaves, key=lambda node: (node.used_at, -node.start), default=None)


def worth_reading(*, n_tokens: int, n_bytes: int, tokens_per_s: float, bytes_per_s: float) -> bool:
    """Whether reading a state back takes less time than computing it again. Speeds of 0 are unknown: it mostly does."""
    if tokens_per_s <= 0 or bytes_per_s <= 0:
        return True
    return n_bytes / bytes_per_s < n_tokens / tokens_per_s
