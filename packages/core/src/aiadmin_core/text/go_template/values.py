"""What a Go template sees and how it looks when written: strings, numbers, lists, maps (dict), and records. Pure.

JSON is that of Go's encoding/json: no white space, the keys of maps sorted, and `<`, `>`, `&` escaped, since that is
what the models whose templates these are were served with.
"""

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any


class Record:
    """A struct: fields by the names that templates use, and what it is as JSON. Always true."""

    __slots__ = ("fields", "name", "plain")

    def __init__(self, name: str, fields: Mapping[str, Any], plain: Any = None) -> None:
        self.name = name
        """For errors."""
        self.fields = fields
        self.plain = fields if plain is None else plain
        """JSON-like, its keys in their order."""


class Types(list[str]):
    """The types a schema names: one is written without brackets."""


class Ordered(dict[str, Any]):
    """A map whose keys keep their order in JSON."""


def is_true(value: Any) -> bool:
    """As `if` takes it: zero and empty values are false."""
    return True if isinstance(value, Record) else bool(value)


def written(value: Any) -> str:
    """As an action writes it. Nothing is written of what is absent; maps and records are JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return _float(value)
        case Types() if len(value) == 1:
            return value[0]
        case list() | tuple():
            if any(isinstance(item, Record | dict) for item in value):
                return to_json(value)
            return "[" + " ".join(map(written, value)) + "]"
        case dict() | Record():
            return to_json(value)
    return str(value)


def to_json(value: Any) -> str:
    """Raises `ValueError`, `RecursionError`."""
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _plain(value: Any) -> Any:
    match value:
        case Record():
            return _plain(value.plain)
        case Ordered():
            return {key: _plain(item) for key, item in value.items()}
        case Types() if len(value) == 1:
            return value[0]
        case Mapping():
            return {key: _plain(value[key]) for key in sorted(value)}
        case str():
            return value
        case Sequence():
            return [_plain(item) for item in value]
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
    return value


_ESCAPES = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def _float(value: float) -> str:
    """The shortest form; with an exponent from 1e+06 on, and below 0.0001 (strconv's %g)."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int), "it is finite"
    power = exponent + len(digits) - 1
    if value and not -4 <= power < 6:
        rest = "".join(map(str, digits[1:]))
        return f"{'-' * sign}{digits[0]}{rest and '.' + rest}e{'-' if power < 0 else '+'}{abs(power):02}"
    return f"{value:.10f}".rstrip("0").rstrip(".") if exponent >= -10 else f"{value:.{-exponent}f}"
