"""A request's body: bytes to a Struct. What is malformed, of the wrong type or unknown is told apart here. Used by
every route of `apis`.

A large body is read on a worker thread. The JSON decoder holds the interpreter for as long as it works, so the number
of values is bounded as well: a million take it about 40 ms, and other streams wait no longer.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request
from msgspec import Struct, inspect

from aiadmin_core.errors import BadRequest

from .body import BOM, BodyTooLarge, Intake, decompressed, encoding_of
from .shapes import mistake, unknown, with_whole_numbers

T = TypeVar("T", bound=Struct)
R = TypeVar("R")

LARGE_BYTES = 64 * 1024
"""From here on a body is read on a worker thread."""
MAX_VALUES = 1_000_000
"""Most values (items, members) in one body: no context holds as many tokens."""


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
    info = _type_info(type)
    return Decoded(_converted(raw, type, info), dict(unknown(raw, info)))


def _converted(raw: dict[str, Any], type: type[T], info: inspect.Type) -> T:
    try:
        return msgspec.convert(raw, type)
    except msgspec.ValidationError:
        raw = with_whole_numbers(raw, info)
    try:
        return msgspec.convert(raw, type)
    except msgspec.ValidationError as error:
        raise mistake(str(error), raw, info) from None


def _malformed(body: bytes, error: Exception) -> MalformedBody:
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        place = f"byte {wrong.start} is {body[wrong.start]:#04x}"
        return MalformedBody(f"The request body is not UTF-8: {place}.", hint="Send JSON in UTF-8.")
    if b"\0" in body:
        return MalformedBody("The request body is not UTF-8, perhaps UTF-16.", hint="Send JSON in UTF-8.")
    return MalformedBody(f"The request body is not valid JSON: {error}.")


@cache
def _type_info(type: type[Struct]) -> inspect.Type:
    return inspect.type_info(type)
