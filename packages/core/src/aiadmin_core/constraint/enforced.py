"""Which kinds of constraints core enforces on every token engine. Imports nothing that enforces them."""

from importlib.util import find_spec

from ..specs.capabilities import ConstraintKind

_ALL: frozenset[ConstraintKind] = frozenset({"json_object", "json_schema", "regex", "choice", "lark"})


def enforced() -> frozenset[ConstraintKind]:
    """All, where llguidance is installed."""
    return _ALL if find_spec("llguidance") else frozenset()
