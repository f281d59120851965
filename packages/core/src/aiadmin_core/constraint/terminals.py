"""The terminals of a Lark grammar as regular languages. Pure; used by `quoting`.

The syntax is llguidance's (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md): strings, ranges,
regular expressions, `&` and `~`, and the terminals of Lark's library by `%import common`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .languages import EMPTY, NOTHING, Language, both, chars, complement, either, repeated, sequence, text
from .patterns import language_of_whole

_TOKENS = re.compile(
    r"""(?P<space>(?:\#|//)[^\n]*|[ \t]+)
    | (?P<newline>[\r\n]+)
    | (?P<range>"(?:\\.|[^"\\\n])*"\s*\.\.\s*"(?:\\.|[^"\\\n])*")
    | (?P<string>"(?:\\.|[^"\\\n])*"i?)
    | (?P<regex>/(?:\\.|[^/\\])+/[imslux]*)
    | (?P<terminal>_?[A-Z][A-Z0-9_-]*)
    | (?P<name>[!?_]*[a-z][a-z0-9_-]*)
    | (?P<number>[0-9]+)
    | (?P<foreign>%\w+|@[\w{}-]*|<[^<>\s]+>)
    | (?P<sign>->|\.\.|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A piece of a grammar's text. `kind` is a group of `_TOKENS`."""

    kind: str
    text: str


def tokens(grammar: str) -> Iterator[Token]:
    """All of `grammar`, in pieces."""
    for found in _TOKENS.finditer(grammar):
        assert found.lastgroup  # the last alternative takes any character
        yield Token(found.lastgroup, found[0])


class Terminals:
    """What the terminals of one grammar are. `definitions` are their expressions, by name."""

    def __init__(self, definitions: Mapping[str, list[Token]]) -> None:
        self._definitions = definitions
        self._known: dict[str, Language] = {}

    def language(self, name: str) -> Language:
        """The texts of the terminal `name`. Raises `ValueError`."""
        if name not in self._known:
            if name not in self._definitions:
                raise ValueError(f"nothing is called {name!r}")
            self._known[name] = NOTHING  # while it is read; none may refer to itself
            self._known[name] = self.read(self._definitions[name])
        return self._known[name]

    def read(self, expression: list[Token]) -> Language:
        """The texts of an expression of strings, regular expressions and terminals. Raises `ValueError`."""
        reader = _Reader([token for token in expression if token.kind not in ("space", "newline")], self.language)
        found = reader.alternatives()
        if reader.left:
            raise ValueError(f"{reader.left[0].text!r} is not understood in a terminal")
        return found


class _Reader:
    """Reads one expression, the loosest operator first: `|`, `&`, one after the other, `~`, repetitions."""

    def __init__(self, expression: list[Token], named: Callable[[str], Language]) -> None:
        self.left = expression
        self._named = named

    def _takes(self, *texts: str) -> str:
        if self.left and self.left[0].text in texts:
            return self.left.pop(0).text
        return ""

    def alternatives(self) -> Language:
        found = [self._all_of()]
        while self._takes("|"):
            found.append(self._all_of())
        return either(*found)

    def _all_of(self) -> Language:
        found = [self._sequence()]
        while self._takes("&"):
            found.append(self._sequence())
        return both(*found)

    def _sequence(self) -> Language:
        found: list[Language] = []
        while self.left and self.left[0].text not in ("|", "&", ")", "]"):
            found.append(self._repeated())
        return sequence(*found)

    def _repeated(self) -> Language:
        part = complement(self._atom()) if self._takes("~") else self._atom()
        sign = self._takes("*", "+", "?", "~", "{")
        if sign in ("~", "{"):
            return repeated(part, *self._counts(sign))
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1), "": (1, 1)}[sign]
        return part if (least, most) == (1, 1) else repeated(part, least, most)

    def _counts(self, sign: str) -> tuple[int, int | None]:
        least = self._number()
        if not self._takes(",", ".."):
            counts: tuple[int, int | None] = (least or 0, least)
        else:
            counts = (least or 0, self._number())
        if sign == "{" and not self._takes("}"):
            raise ValueError("a repetition is not closed")
        return counts

    def _number(self) -> int | None:
        return int(self.left.pop(0).text) if self.left and self.left[0].kind == "number" else None

    def _atom(self) -> Language:
        if opened := self._takes("(", "["):
            inside = self.alternatives()
            if not self._takes(")" if opened == "(" else "]"):
                raise ValueError(f"{opened!r} is not closed")
            return inside if opened == "(" else either(EMPTY, inside)
        if not self.left:
            raise ValueError("a terminal ends too early")
        token = self.left.pop(0)
        if token.kind == "terminal":
            return self._named(token.text)
        return literal_language(token)


def literal_language(token: Token) -> Language:
    """The texts of a string, a range or a regular expression. Raises `ValueError`."""
    if token.kind == "string":
        exactly = text(json.loads(token.text.removesuffix("i")))
        return any_case(exactly) if token.text.endswith("i") else exactly
    if token.kind == "range":
        first, last = (json.loads(side) for side in token.text.split("..", 1))
        if len(first) != 1 or len(last) != 1:
            raise ValueError(f"{token.text}: the ends of a range are one character each")
        return chars([(ord(first), ord(last))])
    if token.kind == "regex":
        expression, _, flags = token.text[1:].rpartition("/")
        if set(flags) - {"i", "s", "u"}:
            raise ValueError(f"the flags of {token.text} are not understood")
        found = language_of_whole(_plain(expression.replace(r"\/", "/"), dot_all="s" in flags))
        return any_case(found) if "i" in flags else found
    raise ValueError(f"{token.text!r} is not understood in a terminal")


def any_case(language: Language) -> Language:
    """`language` with the letters of ASCII in either case."""
    match language:
        case ("chars", ranges):
            members = {code for low, high in ranges for code in range(low, min(high, 0x7F) + 1)}
            swapped = [ord(chr(code).swapcase()) for code in members]
            return chars([*ranges, *((code, code) for code in swapped)])
        case ("either" | "both" as kind, parts):
            return (either if kind == "either" else both)(*map(any_case, parts))
        case (str(kind), *parts):
            return (kind, *map(any_case, parts))
    return language


def _plain(expression: str, *, dot_all: bool) -> str:
    """An expression of Rust's as one of Python's without flags: the dot is all characters, or all but the newline."""
    written: list[str] = []
    groups = [dot_all]
    for piece in re.findall(r"\\.|\[\^?\]?(?:\\.|\[:|[^\]\\])*\]|\((?:\?[^:()<>=!]*[:)])?|.", expression, re.DOTALL):
        if piece[0] == "[" and re.search(r"\[:|&&|--|~~|(?<!^)\[", re.sub(r"\\.", "", piece)):
            raise ValueError(f"sets of characters like {piece} are not understood")
        if piece == ".":
            piece = r"[\s\S]" if groups[-1] else r"[^\n]"
        elif piece.startswith("(?"):
            on, _, off = piece[2:-1].partition("-")
            if set(on + off) - {"s"}:
                raise ValueError(f"the flags of {piece} are not understood")
            dot = (groups[-1] or "s" in on) and "s" not in off
            if piece.endswith(")"):
                groups[-1] = dot
                continue
            groups.append(dot)
            piece = "(?:"
        elif piece == "(":
            groups.append(groups[-1])
        elif piece == ")" and len(groups) > 1:
            groups.pop()
        written.append(piece)
    return "".join(written)


COMMON = {
    "DIGIT": "[0-9]",
    "HEXDIGIT": "[a-fA-F0-9]",
    "INT": "[0-9]+",
    "SIGNED_INT": "[+-]?[0-9]+",
    "DECIMAL": r"[0-9]+\.[0-9]*|\.[0-9]+",
    "_EXP": "[eE][+-]?[0-9]+",
    "FLOAT": r"[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?",
    "SIGNED_FLOAT": r"[+-]?(?:[0-9]+[eE][+-]?[0-9]+|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)",
    "NUMBER": r"[0-9]+(?:[eE][+-]?[0-9]+)?|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?",
    "SIGNED_NUMBER": r"[+-]?(?:[0-9]+(?:[eE][+-]?[0-9]+)?|(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)",
    "ESCAPED_STRING": r'"(?:\\[^\n]|[^"\\\n])*"',
    "LCASE_LETTER": "[a-z]",
    "UCASE_LETTER": "[A-Z]",
    "LETTER": "[A-Za-z]",
    "WORD": "[A-Za-z]+",
    "CNAME": "[_A-Za-z][_A-Za-z0-9]*",
    "WS_INLINE": r"[ \t]+",
    "WS": r"[ \t\f\r\n]+",
    "CR": r"\r",
    "LF": r"\n",
    "NEWLINE": r"(?:\r?\n)+",
    "SH_COMMENT": r"#[^\n]*",
    "CPP_COMMENT": r"//[^\n]*",
    "C_COMMENT": r"/\*(?:[^*]|\*+[^*/])*\*+/",
    "SQL_COMMENT": r"--[^\n]*",
}
"""What `%import common` knows (https://github.com/lark-parser/lark/blob/master/lark/grammars/common.lark)."""
