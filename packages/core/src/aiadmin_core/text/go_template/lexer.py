"""A Go template's source as text and actions, and an action as tokens. Pure; used by `parser`."""

import json
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from .errors import GoTemplateError

Kind = Literal["field", "variable", "name", "number", "string", "bool", "mark", "dot"]


class Token(NamedTuple):
    """A word of an action."""

    kind: Kind
    text: str
    line: int
    spaced: bool
    """Whether white space stands before it: `.A.B` is one operand, `.A .B` are two."""


class Piece(NamedTuple):
    """Text to be written as it is, or the tokens of an action."""

    text: str
    tokens: tuple[Token, ...] | None
    line: int


_BEGIN = re.compile(r"\{\{(-(?=[ \t\r\n]))?")
_COMMENT = re.compile(r"[ \t\r\n]*/\*.*?\*/(?P<trim>[ \t\r\n]+-)?\}\}", re.DOTALL)
_END = re.compile(r"(?P<trim>[ \t\r\n]+-)?\}\}")
_SPACE = re.compile(r"[ \t\r\n]+")
_TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
  | (?P<rune>'(?:[^'\\\n]|\\.)+')
  | (?P<variable>\$\w*)
  | (?P<field>\.[^\W\d]\w*)
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?[\d_]*|\.\d+)(?:[eE][+-]?\d+)?))
  | (?P<dot>\.)
  | (?P<name>[^\W\d]\w*)
  | (?P<mark>:=|=|\||,|\(|\))
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{3})|x(?P<hex>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<one>.))"
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def pieces(source: str) -> Iterator[Piece]:
    """`source` cut up; white space that an action trims is gone. Raises `GoTemplateError`."""
    position, trims = 0, False
    while match := _BEGIN.search(source, position):
        text = source[position : match.start()]
        text = text.lstrip(" \t\r\n") if trims else text
        text = text.rstrip(" \t\r\n") if match[1] else text
        if text:
            yield Piece(text, None, _line(source, position))
        line = _line(source, match.start())
        if comment := _COMMENT.match(source, match.end()):
            position, trims = comment.end(), bool(comment["trim"])
            continue
        tokens, position, trims = _action(source, match.end(), line)
        yield Piece("", tokens, line)
    text = source[position:]
    text = text.lstrip(" \t\r\n") if trims else text
    if text:
        yield Piece(text, None, _line(source, position))


def _action(source: str, position: int, line: int) -> tuple[tuple[Token, ...], int, bool]:
    """The tokens of the action that begins at `position`, where it ends, and whether it trims what follows."""
    tokens: list[Token] = []
    spaced = True
    while not (end := _END.match(source, position)):
        if space := _SPACE.match(source, position):
            position, spaced = space.end(), True
            continue
        match = _TOKEN.match(source, position)
        if match is None:
            raise _unreadable(source, position, line)
        tokens.append(_token(match, _line(source, position), spaced))
        position, spaced = match.end(), False
    return tuple(tokens), end.end(), bool(end["trim"])


def _token(match: re.Match[str], line: int, spaced: bool) -> Token:
    kind, text = match.lastgroup, match[0]
    match kind:
        case "string":
            return Token("string", text[1:-1] if text[0] == "`" else _unquoted(text[1:-1], line), line, spaced)
        case "rune":
            return Token("number", str(ord(_unquoted(text[1:-1], line)[0])), line, spaced)
        case "name" if text in ("true", "false"):
            return Token("bool", text, line, spaced)
        case "field":
            return Token("field", text[1:], line, spaced)
        case "variable" | "number" | "name" | "dot" | "mark":
            return Token(kind, text, line, spaced)
    raise AssertionError(kind)


def _unquoted(text: str, line: int) -> str:
    def character(match: re.Match[str]) -> str:
        if match["octal"]:
            return chr(int(match["octal"], 8))
        if digits := match["hex"] or match["short"] or match["long"]:
            return chr(int(digits, 16)) if int(digits, 16) <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"
        if match["one"] not in _ESCAPED:
            raise GoTemplateError(line, f"a string has the unknown escape {match[0]}")
        return _ESCAPED[match["one"]]

    return _ESCAPE.sub(character, text)


def _unreadable(source: str, position: int, line: int) -> GoTemplateError:
    if position >= len(source):
        return GoTemplateError(line, "an action is not closed: '}}' is missing")
    if source.startswith("/*", position):
        return GoTemplateError(line, "a comment must fill its action: '{{/* ... */}}'")
    return GoTemplateError(_line(source, position), f"unexpected {json.dumps(source[position])} in an action")


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1
