"""A request's body: bytes to a Struct. What is malformed, of the wrong type or unknown is told apart here. Used by
every route of `apis`."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Struct, inspect

from aiadmin_core.errors import BadRequest

from .errors import ClientLeft

T = TypeVar("T", bound=Struct)

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(?P<path>.*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")


class MalformedBody(BadRequest):
    """The body is no JSON object."""

    code = "invalid_json"


class Decoded(Struct, Generic[T], frozen=True):
    """A request, and what it has that its type does not."""

    data: T
    unknown: dict[str, Any]
    """Path (`foo`, `messages[0].foo`) of each unknown field that is not null, and its value."""


async def read(request: Request[Any, Any, Any], type: type[T]) -> Decoded[T]:
    """The request's body as `type`. Raises `ClientLeft`, Litestar's own 413, and what `decode` raises."""
    try:
        body = await request.body()
    except InternalServerException:  # all that Litestar raises here by this name
        raise ClientLeft("The client left before it had sent its request.") from None
    return decode(body, type)


def decode(body: bytes, type: type[T]) -> Decoded[T]:
    """Read `body` as `type`.

    Raises `MalformedBody`, or `BadRequest` whose `param` is the path of what is missing or of the wrong type.
    """
    if not body.strip():
        raise MalformedBody("The request has no body.", hint="Send a JSON object.")
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The request body is not valid JSON: {error}.") from None
    if not isinstance(raw, dict):
        raise MalformedBody("The request body is not a JSON object.")
    try:
        data = msgspec.convert(raw, type)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    return Decoded(data, dict(_unknown(raw, _type_info(type), "")))


def _wrong(text: str) -> BadRequest:
    """`Expected `str`, got `int` - at `$.messages[0].role`` with the path as `param`, in plain words."""
    place = _PLACE.search(text)
    path = place["path"] if place else ""
    reason = text[: place.start()] if place else text
    if missing := _MISSING.match(reason):
        param = f"{path}.{missing['field']}".lstrip(".")
        return BadRequest(f"Missing required parameter: '{param}'.", param=param)
    reason = reason.replace("`", "")
    return BadRequest(f"Invalid value for '{path}': {reason[:1].lower()}{reason[1:]}.", param=path or None)


@cache
def _type_info(type: type[Struct]) -> inspect.Type:
    return inspect.type_info(type)


def _unknown(value: Any, expected: inspect.Type, path: str) -> Iterator[tuple[str, Any]]:
    """Walk a value that has been checked against its type. What the type leaves open (`dict[str, Any]`) is the
    sender's own."""
    if isinstance(expected, inspect.UnionType):
        matching = (member for member in expected.types if _matches(value, member))
        expected = next(matching, inspect.AnyType())
    if isinstance(expected, inspect.StructType):
        fields = {field.encode_name: field.type for field in expected.fields}
        for name, item in value.items():
            place = f"{path}.{name}" if path else name
            if name in fields:
                yield from _unknown(item, fields[name], place)
            elif name != expected.tag_field and item is not None:
                yield place, item
    elif isinstance(expected, inspect.ListType):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):  # a prompt may be millions of token ids
                yield from _unknown(item, expected.item_type, f"{path}[{index}]")


def _matches(value: Any, expected: inspect.Type) -> bool:
    if isinstance(expected, inspect.StructType):
        return isinstance(value, dict) and (expected.tag_field is None or value.get(expected.tag_field) == expected.tag)
    return isinstance(expected, inspect.ListType) and isinstance(value, list)
