"""A request's body: bytes to a Struct. What is malformed, of the wrong type or unknown is told apart here. Used by
every route of `apis`.

A large body is read on a worker thread. The JSON decoder holds the interpreter for as long as it works, so the number
of values is bounded as well: a million take it about 40 ms, and other streams wait no longer.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request
from msgspec import Struct, inspect

from aiadmin_core.errors import BadRequest

from .body import BOM, BodyTooLarge, Intake, decompressed, encoding_of

T = TypeVar("T", bound=Struct)
R = TypeVar("R")

LARGE_BYTES = 64 * 1024
"""From here on a body is read on a worker thread."""
MAX_VALUES = 1_000_000
"""Most values (items, members) in one body: no context holds as many tokens."""

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
    """The request's body as `type`.

    Raises `ClientLeft`, `UnsupportedEncoding`, `BodyTooLarge`, `Overloaded`, and what `decode` raises.
    """
    return await _read(request, lambda body: decode(body, type))


async def read_as(request: Request[Any, Any, Any], type: type[T], translate: Callable[[Decoded[T]], R]) -> tuple[T, R]:
    """The request's body as `type`, and what `translate` makes of it: a pure function, for it is called where the body
    is read. Raises what `read` and `translate` raise."""

    def work(body: bytes) -> tuple[T, R]:
        decoded = decode(body, type)
        return decoded.data, translate(decoded)

    return await _read(request, work)


async def _read(request: Request[Any, Any, Any], work: Callable[[bytes], R]) -> R:
    intake: Intake = request.app.state.intake
    encoding = encoding_of(request)
    async with intake.receive(request) as body:
        if encoding:
            return await asyncio.to_thread(lambda: work(decompressed(body, encoding, intake)))
        return await asyncio.to_thread(work, body) if len(body) > LARGE_BYTES else work(body)


def decode(body: bytes, type: type[T]) -> Decoded[T]:
    """Read `body` as `type`.

    Raises `MalformedBody`, or `BadRequest` whose `param` is the path of what is missing or of the wrong type.
    """
    body = body.removeprefix(BOM)
    if not body.strip():
        raise MalformedBody("The request has no body.", hint="Send a JSON object.")
    if len(body) > LARGE_BYTES and body.count(b",") > MAX_VALUES:
        raise BodyTooLarge(f"The request body holds too much: at most {MAX_VALUES:,} values are read.")
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from None
    if not isinstance(raw, dict):
        raise MalformedBody("The request body is not a JSON object.")
    try:
        data = msgspec.convert(raw, type)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    return Decoded(data, dict(_unknown(raw, _type_info(type), "")))


def _malformed(body: bytes, error: Exception) -> MalformedBody:
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        place = f"byte {wrong.start} is {body[wrong.start]:#04x}"
        return MalformedBody(f"The request body is not UTF-8: {place}.", hint="Send JSON in UTF-8.")
    if b"\0" in body:
        return MalformedBody("The request body is not UTF-8, perhaps UTF-16.", hint="Send JSON in UTF-8.")
    return MalformedBody(f"The request body is not valid JSON: {error}.")


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
