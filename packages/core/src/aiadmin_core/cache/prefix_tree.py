"""What has been computed for the beginnings of prompts, found in the length of the prompt. Pure; owned by one thread.

A node stands for a run of at most `run` tokens that follow those of its parent, and carries a value: the state that a
model computed for them. Runs begin at multiples of `run`, so that texts that agree share nodes, and none has to be cut
in two when a text parts from another in its middle: it gets a sibling, and the state of the older one still serves for
the tokens both have.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]
V = TypeVar("V")


@dataclass(slots=True, eq=False)
class Node(Generic[V]):
    """One run. `start` is the position of its first token."""

    tokens: Tokens
    value: V
    start: int
    key: str
    """What a model's state depends on besides the tokens (`PrefixTree`)."""
    parent: "Node[V] | None"
    children: "list[Node[V]]" = field(default_factory=list)
    used_at: int = 0
    """Counts up: when it was last of use, or came."""
    n_uses: int = 0
    """How often it was of use, its coming counted."""
    floor: float = 0.0
    """`PrefixTree.floor` when it was last of use."""

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class Part(NamedTuple, Generic[V]):
    """The first `n` tokens of a node."""

    node: Node[V]
    n: int


class PrefixTree(Generic[V]):
    """Nodes by the tokens that lead to them.

    A tree for each `key`: nothing is shared between states of different keys (another model, another type of cache,
    another caller's salt).
    """

    def __init__(self, run: int) -> None:
        self.run = run
        self._roots: dict[str, list[Node[V]]] = {}
        self._clock = 0
        self.floor = 0.0
        """What the last node was worth that was given up for want of room (`budget.worth`); kept by who gives up."""

    def __iter__(self) -> Iterator[Node[V]]:
        """Every node, parents first."""
        waiting = [node for nodes in self._roots.values() for node in nodes]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children

    def match(self, key: str, tokens: Tokens) -> list[Part[V]]:
        """The longest beginning of `tokens` there is, from its first part to its last; only the last may be part of a
        node."""
        parts: list[Part[V]] = []
        nodes: Sequence[Node[V]] = self._roots.get(key, ())
        start = 0
        while nodes:
            rest = tokens[start : start + self.run]
            node, n = max(((node, common_prefix(node.tokens, rest)) for node in nodes), key=lambda found: found[1])
            if n == 0:
                break
            parts.append(Part(node, n))
            if n < self.run:
                break
            start, nodes = node.end, node.children
        return parts

    def touch(self, parts: Sequence[Part[V]]) -> None:
        """These were of use."""
        self._clock += 1
        for node, _ in parts:
            node.used_at = self._clock
            node.n_uses += 1
            node.floor = self.floor

    def missing(self, key: str, tokens: Tokens) -> int:
        """Where the first run of `tokens` starts that is not there as a whole; their number if all are."""
        parts = self.match(key, tokens)
        whole = parts if parts and parts[-1].n == min(self.run, len(tokens) - parts[-1].node.start) else parts[:-1]
        return min(len(tokens), len(whole) * self.run)

    def add(self, key: str, tokens: Tokens, start: int, value: V) -> tuple[Node[V], list[Node[V]]]:
        """Put in the run of `tokens` that starts at `start`; the runs before it are there already. Gives its node, and
        those it takes the place of: beginnings of it (an answer has grown since)."""
        assert start % self.run == 0
        assert start < len(tokens)
        parent = self._parent(key, tokens, start)
        siblings = parent.children if parent else self._roots.setdefault(key, [])
        run = tokens[start : start + self.run].copy()
        replaced = [other for other in siblings if common_prefix(other.tokens, run) == len(other.tokens)]
        for other in replaced:
            siblings.remove(other)
        node = Node(run, value, start, key, parent)
        siblings.append(node)
        self.touch([Part(node, len(run))])
        return node, replaced

    def has(self, node: Node[V]) -> bool:
        """Whether the node is still there: others may have been given its place, or its room."""
        siblings = node.parent.children if node.parent else self._roots.get(node.key, [])
        return node in siblings and (node.parent is None or self.has(node.parent))

    def remove(self, node: Node[V]) -> None:
        """Take out a node that has no children."""
        assert not node.children
        siblings = node.parent.children if node.parent else self._roots[node.key]
        siblings.remove(node)
        if not siblings and not node.parent:
            del self._roots[node.key]

    def _parent(self, key: str, tokens: Tokens, start: int) -> Node[V] | None:
        if start == 0:
            return None
        parts = self.match(key, tokens[:start])
        assert len(parts) * self.run == start
        assert parts[-1].n == self.run
        return parts[-1].node


def common_prefix(one: Tokens, other: Tokens) -> int:
    """How many tokens both start with."""
    n = min(len(one), len(other))
    differs = np.flatnonzero(one[:n] != other[:n])
    return int(differs[0]) if len(differs) else n
