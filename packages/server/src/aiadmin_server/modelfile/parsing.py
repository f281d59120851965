"""A Modelfile's text as a `Recipe`. Pure.

An instruction is a word, in whatever case, and what stands behind it: up to the end of the line, or between quotes, one
or three of them, which may stand lines apart. A line that begins with `#` says nothing.
"""

import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import msgspec

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, Role, TextPart

from .parameters import parameter
from .recipe import Recipe

INSTRUCTIONS = (
    "FROM",
    "PARAMETER",
    "TEMPLATE",
    "SYSTEM",
    "MESSAGE",
    "ADAPTER",
    "LICENSE",
    "REQUIRES",
    "RENDERER",
    "PARSER",
    "DRAFT",
)
_ROLES = tuple(role for role in get_args(Role) if role in ("system", "user", "assistant"))
MAX_BYTES = 4 << 20


class Instruction(NamedTuple):
    """One instruction; `first` is the word before the value, of PARAMETER and MESSAGE."""

    name: str
    first: str
    value: str
    line: int


def decoded(data: bytes) -> str:
    """A Modelfile as text: UTF-8, or UTF-16 with its mark. Raises `BadRequest`."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if len(data) > MAX_BYTES:
        raise BadRequest(f"The Modelfile is larger than {MAX_BYTES} bytes.", hint="Is it a Modelfile?")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise BadRequest(
            "The Modelfile is no text.", hint="Save it as UTF-8; models are named in it by FROM."
        ) from None


def parse(text: str) -> Recipe:
    """Raises `BadRequest` that names line and instruction."""
    values: dict[str, list[str]] = {name: [] for name in INSTRUCTIONS}
    parameters: dict[str, Any] = {}
    messages: list[Message] = []
    for instruction in instructions(text):
        values[instruction.name].append(instruction.value)
        try:
            if instruction.name == "PARAMETER":
                _add_parameter(parameters, instruction)
            elif instruction.name == "MESSAGE":
                messages.append(_message(instruction))
        except BadRequest as error:
            raise BadRequest(f"Line {instruction.line}: {error.message}", hint=error.hint, param=error.param) from None
    if not values["FROM"]:
        raise BadRequest("The Modelfile has no FROM line.", hint="Say what the model is made of: FROM smollm2")
    if values["DRAFT"]:
        raise BadRequest("DRAFT is not served: no backend takes a draft model of its own.", hint="Leave the line out.")
    about = {name.lower(): values[name][-1] for name in ("REQUIRES", "RENDERER", "PARSER") if values[name]}
    return Recipe(
        bases=tuple(values["FROM"]),
        adapters=tuple(values["ADAPTER"]),
        parameters=parameters,
        template=_last(values["TEMPLATE"]),
        system=_last(values["SYSTEM"]),
        messages=tuple(messages) if messages else None,
        licenses=tuple(text for text in values["LICENSE"] if text),
        about=about,
    )


def instructions(text: str) -> Iterator[Instruction]:
    """Each instruction in `text`, in order. Raises `BadRequest`."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    position = 0
    while position < len(lines):
        number, line = position + 1, lines[position].strip()
        position += 1
        if not line or line.startswith("#"):
            continue
        name, *rests = line.split(None, 1)
        name, rest = name.upper(), "".join(rests)
        if name not in INSTRUCTIONS:
            raise _unknown(name, number)
        first, rest = _first_word(name, rest, number)
        value, n_more = _value(rest, lines[position:], number)
        position += n_more
        if not value and name in ("FROM", "ADAPTER"):
            raise BadRequest(f"Line {number}: {name} has nothing behind it.")
        yield Instruction(name, first, value, number)


def _first_word(name: str, rest: str, number: int) -> tuple[str, str]:
    if name not in ("PARAMETER", "MESSAGE"):
        return "", rest
    words = rest.split(None, 1)
    if not words or (name == "PARAMETER" and len(words) < 2):
        what = "a name and a value: PARAMETER temperature 0.5" if name == "PARAMETER" else "a role and a text"
        raise BadRequest(f"Line {number}: {name} needs {what}.")
    return words[0], words[1] if len(words) > 1 else ""


def _value(rest: str, following: list[str], number: int) -> tuple[str, int]:
    """What stands behind an instruction without its quotes, and how many of the `following` lines it takes."""
    quote = '"""' if rest.startswith('"""') else '"' if rest.startswith('"') else ""
    if not quote:
        return rest, 0
    text = rest[len(quote) :]
    for n_more in range(len(following) + 1):
        if text.rstrip().endswith(quote):
            return text.rstrip().removesuffix(quote), n_more
        if n_more < len(following):
            text += "\n" + following[n_more]
    raise BadRequest(
        f"Line {number}: a quote ({quote}) is opened and never closed.", hint=f"End the text with {quote}."
    )


def _add_parameter(parameters: dict[str, Any], instruction: Instruction) -> None:
    name = instruction.first.lower()
    value = parameter(name, instruction.value)
    parameters[name] = [*parameters.get(name, ()), *value] if name == "stop" else value


def _message(instruction: Instruction) -> Message:
    role = instruction.first.lower()
    if role not in _ROLES:
        raise BadRequest(f"MESSAGE has no role '{instruction.first}'.", hint=f"There are: {', '.join(_ROLES)}.")
    return Message(role=msgspec.convert(role, Role), content=(TextPart(instruction.value),))


def _last(values: list[str]) -> str | None:
    return values[-1] if values else None


def _unknown(name: str, number: int) -> BadRequest:
    near = difflib.get_close_matches(name, INSTRUCTIONS, n=1, cutoff=0.5)
    known = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(INSTRUCTIONS)}."
    return BadRequest(f"Line {number}: there is no instruction '{name[:40]}'.", hint=known)
