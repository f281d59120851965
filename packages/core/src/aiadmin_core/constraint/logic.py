"""What can be proved of JSON schemas without documents: that two exclude each other, what one says of a value, and the
schema of everything another refuses. Pure; used by `schema`, on schemas whose references it can `resolve`.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from .languages import TooLarge, complement, either, text, to_regex
from .patterns import language_of

Schema = dict[str, Any]
Resolve = Callable[[Any], Any]
"""A schema for a schema: what a `$ref` stands for, everything else as it is."""

TYPES = ("null", "boolean", "object", "array", "number", "string")
_DEEPEST = 8
"""Steps into a schema before a proof is given up."""


def types_of(schema: Any) -> frozenset[str]:
    """The types its `type` allows; "number" holds "integer" unless only that is named."""
    named = schema.get("type") if isinstance(schema, dict) else None
    if named is None:
        values = _values(schema)
        return frozenset(TYPES) if values is None else frozenset(map(type_of, values))
    names = {named} if isinstance(named, str) else set(named)
    return frozenset(names - {"integer"} if "number" in names else names)


def type_of(value: Any) -> str:
    """The JSON type of `value`."""
    for name, kind in (("null", type(None)), ("boolean", bool), ("object", dict), ("array", list), ("string", str)):
        if isinstance(value, kind):
            return name
    return "integer" if value == math.floor(value) else "number"


def exclude(first: Any, second: Any, resolve: Resolve, depth: int = _DEEPEST) -> bool:
    """Whether it is certain that no document is valid under both."""
    if depth == 0:
        return False
    first, second = resolve(first), resolve(second)
    if first is False or second is False:
        return True
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return False
    for one, other in ((first, second), (second, first)):
        for keyword in ("anyOf", "oneOf"):
            branches = one.get(keyword)
            if branches and all(exclude(branch, other, resolve, depth - 1) for branch in branches):
                return True
        if any(exclude(part, other, resolve, depth - 1) for part in one.get("allOf", ())):
            return True
        values = _values(one)
        if values is not None and all(accepts(other, value, resolve) is False for value in values):
            return True
    common = common_types(types_of(first), types_of(second))
    if not common:
        return True
    if common == {"object"}:
        return _objects_exclude(first, second, resolve, depth)
    if common <= {"number", "integer"}:
        return _low(first) > _high(second) or _low(second) > _high(first)
    for kind, low, high in (("string", "minLength", "maxLength"), ("array", "minItems", "maxItems")):
        if common == {kind}:
            return any(a.get(low, 0) > b.get(high, math.inf) for a, b in ((first, second), (second, first)))
    return False


def accepts(schema: Any, value: Any, resolve: Resolve, depth: int = _DEEPEST) -> bool | None:
    """Whether `value` is valid; None where this does not say."""
    schema = resolve(schema)
    if isinstance(schema, bool) or depth == 0:
        return schema if isinstance(schema, bool) else None
    verdicts = list(_verdicts(schema, value, resolve, depth))
    if False in verdicts:
        return False
    return None if None in verdicts else True


def refuse_all(schema: Any, resolve: Resolve, within: frozenset[str], depth: int = _DEEPEST) -> Any:
    """The schema of what `schema` refuses of documents whose types are `within`. Raises `LookupError` with the keyword
    that cannot be turned round."""
    schema = resolve(schema)
    if isinstance(schema, bool):
        return not schema
    if depth == 0:
        raise LookupError("$ref")
    refused = [_refused(keyword, schema, resolve, within, depth) for keyword in schema if keyword not in _SAY_NOTHING]
    refused = [one for one in refused if one is not False]
    return refused[0] if len(refused) == 1 else {"anyOf": refused} if refused else False


_SAY_NOTHING = frozenset(
    ("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment", "$id")
) | frozenset(("id", "$schema", "$defs", "definitions", "$anchor"))


def _values(schema: Any) -> list[Any] | None:
    if isinstance(schema, dict) and "const" in schema:
        return [schema["const"]]
    values = schema.get("enum") if isinstance(schema, dict) else None
    return values if isinstance(values, list) else None


def common_types(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    """The types that both allow."""
    numbers = {"integer"} if "integer" in first | second and _numeric(first) and _numeric(second) else set()
    return (first & second) | numbers


def _numeric(types: frozenset[str]) -> bool:
    return bool(types & {"number", "integer"})


def _low(schema: Schema) -> float:
    exclusive = schema.get("exclusiveMinimum", -math.inf)
    least = schema.get("minimum", -math.inf)
    return max(least, math.nextafter(exclusive, math.inf)) if not isinstance(exclusive, bool) else float(least)


def _high(schema: Schema) -> float:
    exclusive = schema.get("exclusiveMaximum", math.inf)
    most = schema.get("maximum", math.inf)
    return min(most, math.nextafter(exclusive, -math.inf)) if not isinstance(exclusive, bool) else float(most)


def _objects_exclude(first: Schema, second: Schema, resolve: Resolve, depth: int) -> bool:
    for one, other in ((first, second), (second, first)):
        required, known = one.get("required", ()), other.get("properties", {})
        for name in required:
            if name in known:
                mine = one.get("properties", {}).get(name, True)
                needed = known[name] is False or name in other.get("required", ())
                if needed and exclude(mine, known[name], resolve, depth - 1):
                    return True
                if not needed and exclude(mine, known[name], resolve, depth - 1):
                    return True  # it is there, and valid under one of the two only
            elif other.get("additionalProperties") is False and not other.get("patternProperties"):
                return True
    return False


def _verdicts(schema: Schema, value: Any, resolve: Resolve, depth: int) -> Iterator[bool | None]:
    kind = type_of(value)
    if "type" in schema:
        types = types_of(schema)
        yield kind in types or (kind == "integer" and "number" in types)
    values = _values(schema)
    if values is not None:
        yield any(value == one and type_of(value) == type_of(one) for one in values)
    for keyword, given in schema.items():
        match keyword, kind:
            case "allOf", _:
                said = [accepts(part, value, resolve, depth - 1) for part in given]
                yield False if False in said else None if None in said else True
            case "anyOf", _:
                said = [accepts(part, value, resolve, depth - 1) for part in given]
                yield True if True in said else None if None in said else False
            case "required", "object":
                yield all(name in value for name in given)
            case "properties", "object":
                said = [accepts(given[name], value[name], resolve, depth - 1) for name in given if name in value]
                yield False if False in said else None if None in said else True
            case "minLength", "string":
                yield len(value) >= given
            case "maxLength", "string":
                yield len(value) <= given
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", "number" | "integer":
                yield _low(schema) <= value <= _high(schema)
            case _:
                yield True if keyword in _JUDGED or keyword in _SAY_NOTHING else None


_JUDGED = frozenset(("type", "enum", "const", "required", "properties", "minLength", "maxLength", "minimum", "maximum"))


def _refused(keyword: str, schema: Schema, resolve: Resolve, within: frozenset[str], depth: int) -> Any:
    """What the keyword alone refuses."""
    given = schema[keyword]
    match keyword:
        case "type":
            return _other_types(types_of(schema), within)
        case "enum" | "const":
            return _other_values(given if keyword == "enum" else [given])
        case "required":
            absent = [{"type": "object", "properties": {name: False}} for name in given]
            return absent[0] if len(absent) == 1 else {"anyOf": absent} if absent else False
        case "properties":
            wrong = [
                {
                    "type": "object",
                    "required": [name],
                    "properties": {name: refuse_all(part, resolve, frozenset(TYPES), depth - 1)},
                }
                for name, part in given.items()
                if part is not True and part != {}
            ]
            return wrong[0] if len(wrong) == 1 else {"anyOf": wrong} if wrong else False
        case "not":
            return given
        case "anyOf":
            return {"allOf": [refuse_all(part, resolve, within, depth - 1) for part in given]}
        case "allOf":
            return {"anyOf": [refuse_all(part, resolve, within, depth - 1) for part in given]}
        case "pattern":
            return {"type": "string", "pattern": _pattern_of_others(given)}
        case "minLength" | "minItems":
            kind, high = ("string", "maxLength") if keyword == "minLength" else ("array", "maxItems")
            return {"type": kind, high: given - 1} if given > 0 else False
        case "maxLength" | "maxItems":
            kind, low = ("string", "minLength") if keyword == "maxLength" else ("array", "minItems")
            return {"type": kind, low: given + 1}
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" if not isinstance(given, bool):
            return {"type": "number", _OPPOSITE[keyword]: given}
        case _:
            raise LookupError(keyword)


_OPPOSITE = {
    "minimum": "exclusiveMaximum",
    "maximum": "exclusiveMinimum",
    "exclusiveMinimum": "maximum",
    "exclusiveMaximum": "minimum",
}


def _other_types(types: frozenset[str], within: frozenset[str]) -> Any:
    if "integer" in types and "number" in within:
        raise LookupError("type")  # numbers that are no integers
    left = [name for name in within if name not in types and not (name == "integer" and "number" in types)]
    return {"type": sorted(left)} if left else False


def _other_values(values: list[Any]) -> Any:
    """Everything but `values`: other types, and other texts and literals of the same."""
    kinds = {type_of(value) for value in values}
    if kinds - {"string", "null", "boolean"}:
        raise LookupError("enum")
    free = [name for name in TYPES if name not in kinds]
    parts: list[Any] = [{"type": free}] if free else []
    if texts := [value for value in values if isinstance(value, str)]:
        parts.append({"type": "string", "pattern": _other_texts(texts)})
    if "boolean" in kinds and (left := [value for value in (True, False) if not any(value is one for one in values)]):
        parts.append({"enum": left})
    return parts[0] if len(parts) == 1 else {"anyOf": parts} if parts else False


def _other_texts(texts: list[str]) -> str:
    return _expression(complement(either(*map(text, texts))), "enum")


def _pattern_of_others(pattern: str) -> str:
    try:
        return _expression(complement(language_of(pattern)), "pattern")
    except ValueError as error:
        raise LookupError("pattern") from error


def _expression(language: Any, keyword: str) -> str:
    try:
        found = to_regex(language)
    except TooLarge as error:
        raise LookupError(keyword) from error
    if found is None:
        raise LookupError(keyword)
    return found
