"""Whether what the keywords of a JSON schema hold is what the specification wants there. Pure; used by `schema`.

Annotations (`format`, `title`, ...) may hold anything.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from .unenforceable import Unenforceable

NAMES_OF_TYPES = ("null", "boolean", "object", "array", "number", "integer", "string")

_MOST_SHOWN = 60
Test = Callable[[Any], bool]


def check_values(schema: Mapping[str, Any], where: str) -> None:
    """Raises `Unenforceable` for the first keyword of `schema` itself whose value is of the wrong kind."""
    for keyword, value in schema.items():
        wanted, is_right = _WANTED.get(keyword, _ANYTHING)
        if not is_right(value):
            found = json.dumps(value, default=repr)
            found = found if len(found) <= _MOST_SHOWN else f"{found[: _MOST_SHOWN - 3]}..."
            raise Unenforceable(f"{where}/{keyword}", f"it must be {wanted}, not {found}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bound(value: Any) -> bool:
    return _is_number(value) or isinstance(value, bool)  # of draft 4


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and (isinstance(value, int) or value.is_integer())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_types(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return _are_texts(names) and bool(names) and set(names) <= set(NAMES_OF_TYPES)


_ANYTHING: tuple[str, Test] = ("", lambda _: True)
_COUNT: tuple[str, Test] = ("a whole number from 0 on", _is_count)
_NUMBER: tuple[str, Test] = ("a number", _is_number)
_BOUND: tuple[str, Test] = ("a number", _is_bound)
_FLAG: tuple[str, Test] = ("true or false", lambda value: isinstance(value, bool))
_TEXT: tuple[str, Test] = ("a text", lambda value: isinstance(value, str))
_LIST: tuple[str, Test] = ("a list", lambda value: isinstance(value, list))
_SCHEMA: tuple[str, Test] = ("an object or a boolean", lambda value: isinstance(value, dict | bool))
_OBJECT: tuple[str, Test] = ("an object", lambda value: isinstance(value, dict))

_WANTED: dict[str, tuple[str, Test]] = {
    "type": (f"one of {', '.join(NAMES_OF_TYPES)}, or a list of them", _are_types),
    "enum": _LIST,
    "required": ("a list of names", _are_texts),
    **dict.fromkeys(("minimum", "maximum"), _NUMBER),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), _BOUND),
    "multipleOf": ("a number above 0", lambda value: _is_number(value) and value > 0),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
    **dict.fromkeys(("minContains", "maxContains"), _COUNT),
    "uniqueItems": _FLAG,
    **dict.fromkeys(("pattern", "$ref"), _TEXT),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _LIST),
    **dict.fromkeys(("properties", "patternProperties", "dependentRequired", "dependentSchemas"), _OBJECT),
    **dict.fromkeys(("dependencies", "$defs", "definitions"), _OBJECT),
    **dict.fromkeys(("not", "if", "then", "else", "propertyNames"), _SCHEMA),
}
