"""A request's body beside the type it is read as: what it has that the type does not, numbers that are whole however
they are written, and what is wrong in words. Pure; used by `reading`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from aiadmin_core.errors import BadRequest

MAX_SHOWN = 60
"""Characters of a wrong value that an error repeats."""

_PLACE = re.compile(r" - at (?P<key>`key` in )?`\$\.?(?P<path>.*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_MISTYPED = re.compile(r"Expected `[^`]*`, got `(?P<got>[^`]*)`|Invalid (?:enum )?value")
_PART = re.compile(r"\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])|\.?(?P<name>[^.\[]+)")

_WORDS: dict[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "a string",
    inspect.BoolType: "true or false",
    inspect.ListType: "a list",
    inspect.VarTupleType: "a list",
    inspect.DictType: "an object",
    inspect.StructType: "an object",
}
_KINDS = {bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object", type(None): "null"}
"""What msgspec calls the kind of a value."""


def unknown(value: Any, expected: inspect.Type, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of each field that is not null and not in the type. `value` has been checked against its type.
    What the type leaves open (`dict[str, Any]`) is the sender's own."""
    expected = next((member for member in _members(expected) if _matches(value, member)), inspect.AnyType())
    if isinstance(expected, inspect.StructType):
        fields = {field.encode_name: field.type for field in expected.fields}
        for name, item in value.items():
            place = f"{path}.{name}" if path else name
            if name in fields:
                yield from unknown(item, fields[name], place)
            elif name != expected.tag_field and item is not None:
                yield place, item
    elif isinstance(expected, inspect.ListType):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):  # a prompt may be millions of token ids
                yield from unknown(item, expected.item_type, f"{path}[{index}]")


def with_whole_numbers(value: Any, expected: inspect.Type) -> Any:
    """`value` with each `114.0` where a whole number is wanted as `114`: JSON has one kind of number, and some clients
    write all of them so. Changes the lists and objects it is given."""
    members = _members(expected)
    if isinstance(value, float):
        kinds = {type(member) for member in members}
        whole = inspect.IntType in kinds and inspect.FloatType not in kinds and value.is_integer()
        return int(value) if whole else value
    for member in members:
        if not _matches(value, member):
            continue
        if isinstance(member, inspect.StructType):
            for field in member.fields:
                if field.encode_name in value:
                    value[field.encode_name] = with_whole_numbers(value[field.encode_name], field.type)
        elif isinstance(member, inspect.DictType):
            for name, item in value.items():
                value[name] = with_whole_numbers(item, member.value_type)
        elif isinstance(member, inspect.ListType | inspect.VarTupleType):
            value[:] = [with_whole_numbers(item, member.item_type) for item in value]
    return value


def mistake(text: str, body: Any, expected: inspect.Type) -> BadRequest:
    """What msgspec says of a body (`Expected `int`, got `str` - at `$.messages[0].role``) as the path, the value that
    is there and what could be, in plain words."""
    place = _PLACE.search(text)
    path = place["path"] if place else ""
    reason = text[: place.start()] if place else text
    if missing := _MISSING.match(reason):
        param = f"{path}.{missing['field']}".lstrip(".")
        return BadRequest(f"Missing required parameter: '{param}'.", param=param)
    mistyped = _MISTYPED.match(reason)
    of_a_key = place is not None and place["key"] is not None
    if place and mistyped and not of_a_key:
        path, value, types = _followed(path, body, expected, got=mistyped["got"])
        if wanted := _wanted(types):
            return BadRequest(f"Invalid value for '{path}': expected {wanted}, got {_shown(value)}.", param=path)
    reason = reason.replace("`", "")
    what = "of its keys, " if of_a_key else ""
    return BadRequest(f"Invalid value for '{path}': {what}{reason[:1].lower()}{reason[1:]}.", param=path or None)


def _followed(path: str, value: Any, expected: inspect.Type, *, got: str | None) -> tuple[str, Any, list[inspect.Type]]:
    """The path with the names that msgspec leaves out (`logit_bias[...]`), what is there, and what types may be.
    `got` is the kind of the value that is wrong, where msgspec names it."""
    types, parts = _members(expected), []
    for part in _PART.finditer(path):
        types = [member for member in types if _matches(value, member)] or types  # none is of a tag that is wrong
        key: Any = part["name"] if part["index"] is None else int(part["index"])
        if part["any"]:
            items = value.items() if isinstance(value, dict) else ()
            key = next((name for name, item in items if _KINDS.get(type(item)) == got), None)
            if key is None:
                return path, None, []
        types = [inner for member in types for inner in _inside(member, key)]
        value = value[key] if isinstance(value, list) else value.get(key)
        parts.append(f"[{key}]" if isinstance(key, int) else f".{key}")
    return "".join(parts).lstrip("."), value, types


def _inside(expected: inspect.Type, key: Any) -> list[inspect.Type]:
    """What may be at `key` of a list or an object."""
    match expected:
        case inspect.StructType(tag_field=tag, tag=name) if key == tag:
            return [inspect.LiteralType((name,))]
        case inspect.StructType(fields=fields):
            return [member for field in fields if field.encode_name == key for member in _members(field.type)]
        case inspect.DictType(value_type=inner) if isinstance(key, str):
            return _members(inner)
        case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner) if isinstance(key, int):
            return _members(inner)
    return []


def _wanted(types: list[inspect.Type]) -> str:
    """`'auto', 'none' or an object`; "" where nothing is known. Null, which any optional field may be, is not said."""
    values = [value for member in types if isinstance(member, inspect.LiteralType) for value in member.values]
    words = [repr(value) for value in values] + [_WORDS[type(member)] for member in types if type(member) in _WORDS]
    *first, last = list(dict.fromkeys(words)) or [""]
    return f"{', '.join(first)} or {last}" if first else last


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= MAX_SHOWN else f"'{value[: MAX_SHOWN - 3]}...'"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else json.dumps(value)


def _members(expected: inspect.Type) -> list[inspect.Type]:
    """What a value of this type may be: the types of a union, what is annotated without its notes."""
    if isinstance(expected, inspect.Metadata):
        return _members(expected.type)
    if isinstance(expected, inspect.UnionType):
        return [inner for member in expected.types for inner in _members(member)]
    return [expected]


def _matches(value: Any, expected: inspect.Type) -> bool:
    """Whether a list or an object may be of this type. What is of one type only need not have its tag."""
    if isinstance(expected, inspect.StructType):
        return isinstance(value, dict) and value.get(expected.tag_field, expected.tag) == expected.tag
    if isinstance(expected, inspect.DictType):
        return isinstance(value, dict)
    return isinstance(expected, inspect.ListType | inspect.VarTupleType) and isinstance(value, list)
