"""Who decodes together where requests want different adapters: a context applies one set of them at a time, so the sets
take turns. Called by the scheduler."""

from collections.abc import Iterable, Sequence

from aiadmin_core.specs.request import Adapter

State = tuple[Adapter, ...]
"""The adapters of a request, by digest, those of no effect left out: what a context has to be set to."""

STEPS = 8
"""Steps of a turn while others wait: setting a context costs about one (the graph is planned anew), and whoever waits
for a turn has no token meanwhile."""


def state_of(adapters: Iterable[Adapter]) -> State:
    """The same for requests that mean the same. Pure. The last word on an adapter counts."""
    scales = {one.digest: one for one in adapters}
    return tuple(sorted((one for one in scales.values() if one.scale), key=lambda one: one.digest))


class Turns:
    """Whose turn it is."""

    def __init__(self, n_steps: int = STEPS) -> None:
        self._n_steps = n_steps
        self._state: State | None = None
        self._left = 0

    def choose(self, states: Sequence[State]) -> State:
        """The state of the next step, one of `states` (those that want to decode, first come first): the one of the
        last step until its turn is over, then the next one round."""
        present = list(dict.fromkeys(states))
        if self._state is None or self._state not in present:
            self._state, self._left = present[0], self._n_steps
        elif self._left <= 0 and len(present) > 1:
            following = present.index(self._state) + 1
            self._state, self._left = present[following % len(present)], self._n_steps
        self._left -= 1
        return self._state
