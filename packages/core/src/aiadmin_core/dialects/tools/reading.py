"""Reads the calls in what a model writes, a character at a time. One parser for every `CallForm`.

What is read does not depend on how the text was cut. A call is told as soon as its name is certain, its arguments as
they come (JSON), or one by one (tags). What turns out to be no call is text, as it stood there.
"""

import ast
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ...constraint.logic import type_of
from ...specs.content import Tool
from ..dialect import CallPiece, Piece
from ..markers import overlap
from .form import ID, KEY, NUMBER, CallForm, as_json, text_kinds

_NAME = r"(?P<name>[\w./:-]+?)"
_SLOT_PATTERNS = {ID: r"(?P<id>[\w.:-]+)", NUMBER: r"\d+", KEY: "(?P=key)"}
_SLOT = re.compile(f"[{ID}{NUMBER}{KEY}]")
_LONGEST_HEAD = 400
"""Characters in which the name of a call has to be found."""
_LONGEST_TAIL = 80
"""Characters, beyond those of the form, in which a call has to be closed."""
_MEMBERS = r'(?:\s*,\s*"\w+"\s*:\s*(?:"[^"]*"|[\w.]+))*'
_CDATA = re.compile(r"<!\[CDATA\[([\s\S]*)\]\]>")
_MEMBER = re.compile(r"\s*,")
"""Begins a member of a call's object behind its arguments."""
_NAME_KEYS = ("name", "tool_name", "function", "tool")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")


class FormParser:
    """See `dialect.Parser`."""

    reasoning = False

    def __init__(self, form: CallForm, tools: Sequence[Tool]) -> None:
        self._form = form
        self._properties = {tool.name: (tool.parameters or {}).get("properties") for tool in tools}
        self._opening = form.opening
        self._take = self._text if self._opening else self._bare
        self._held = ""
        self._again = ""
        """Text that was held for a call and has to be read once more, since it was none."""
        self._head = _compiled(form, first=True)
        self._next = _compiled(form, first=False)
        self._tail = _loose(form.tail)
        if form.is_object:
            after = form.tail[form.tail.find("}") + 1 :]
            self._tail = rf"{_MEMBERS}\s*\}}{_loose(after)}"
        self._done = re.compile(self._tail)
        self._scanner = JsonScanner()
        self._n_sections = 0
        self._arguments: list[str] = []
        self._schema: Any = None

    @property
    def n_held(self) -> int:
        return len(self._held)

    def feed(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        position = 0
        while position < len(text):
            if self._take == self._text and not self._held:  # nearly always: nothing begins here
                found = text.find(self._opening[0], position) if self._opening else -1
                if found != position:
                    end = found if found > 0 else len(text)
                    pieces.append(text[position:end])
                    position = end
                    continue
            if self._take == self._json:
                if not self._scanner.begun and text[position].isspace():
                    position += 1
                    continue
                length = self._scanner.length(text, position)
                if length:
                    pieces.append(CallPiece(arguments=text[position : position + length]))
                position += length
                if self._scanner.over or position < len(text):
                    self._take = self._between if self._done.fullmatch("") else self._closing
                continue
            self._held += text[position]
            position += 1
            self._take(pieces, False)
            if self._again:
                text, position, self._again = self._again + text[position:], 0, ""
        return pieces

    def end(self, token: str) -> list[Piece]:
        pieces: list[Piece] = []
        self._take(pieces, True)
        while self._again:
            text, self._again = self._again, ""
            pieces.extend(self.feed(text))
            self._take(pieces, True)
        if self._held:  # a call that was cut, or went on as none does
            pieces.append(self._held)
            self._held = ""
        return pieces

    def _give_up(self, pieces: list[Piece]) -> None:
        """It was no call: what was held is text, and what in it may begin one is looked at again."""
        pieces.append(self._held[0])
        self._again, self._held = self._held[1:], ""
        self._take = self._text

    def _text(self, pieces: list[Piece], over: bool) -> None:
        if not self._opening:
            pieces.append(self._held)
            self._held = ""
        elif self._held.endswith(self._opening):
            before = self._held[: -len(self._opening)]
            if before:
                pieces.append(before)
            self._held = self._opening
            self._take, self._pattern = self._header, self._head
        else:
            safe = len(self._held) - overlap(self._held, self._opening)
            if safe:
                pieces.append(self._held[:safe])
                self._held = self._held[safe:]

    def _bare(self, pieces: list[Piece], over: bool) -> None:
        """At the beginning of an answer that may be a bare JSON object."""
        begun = self._held.lstrip()
        if begun and not begun.startswith(("{", "[")):
            self._take = self._text
            self._text(pieces, over)
        elif begun:
            self._take, self._pattern = self._header, self._head

    def _header(self, pieces: list[Piece], over: bool) -> None:
        before = len(self._held) - len(self._opening)
        if self._opening and before > 0 and self._held.endswith(self._opening):  # the one before began nothing
            pieces.append(self._held[:before])
            self._held = self._opening
            self._pattern = self._head
        elif match := self._pattern.fullmatch(self._held):
            found = match.groupdict()
            rest = found.get("rest") or ""
            self._begin(match["name"], found.get("id"), pieces)
            if self._form.tags is None:  # arguments as JSON are not held: `feed` gives them out
                self._again = rest
            else:
                self._held = rest
        else:
            self._unread_header(pieces, over)

    def _unread_header(self, pieces: list[Piece], over: bool) -> None:
        closed = self._tail_marker and self._held.endswith(self._tail_marker)
        too_long = len(self._held) > _LONGEST_HEAD and not self._form.is_object
        whole = self._whole_call() if self._form.is_object and self._held.endswith("}") else None
        if whole is not None:
            name, arguments = whole
            pieces.append(CallPiece(name=name, arguments=arguments))
            self._held = "}"
            self._take = self._closing
        elif self._held and (closed or too_long or over or self._is_hopeless()):
            self._give_up(pieces)

    @property
    def _tail_marker(self) -> str:
        """The last marker of a call, which ends one that could not be read too; "" where calls begin with it."""
        form = self._form
        found = re.findall(r"<[^<>\s]+>", form.tail)
        return found[-1] if found and found[-1] not in form.begin + form.head + form.mid else ""

    def _is_hopeless(self) -> bool:
        """Where calls are bare JSON, an object that ended and was none."""
        return not self._opening and _balanced(self._held)

    def _whole_call(self) -> tuple[str, str] | None:
        """A call whose members stand in another order, once it is whole."""
        start = self._held.find("{")
        try:
            value, end = json.JSONDecoder().raw_decode(self._held, start) if start >= 0 else (None, 0)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict) or end != len(self._held):
            return None
        name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
        arguments = next((value[key] for key in _ARGUMENT_KEYS if key in value), None)
        if not name or arguments is None:
            return None
        return name, arguments if isinstance(arguments, str) else as_json(arguments)

    def _begin(self, name: str, id: str | None, pieces: list[Piece]) -> None:
        pieces.append(CallPiece(name=name, id=id))
        self._held = ""
        if self._form.tags is None:
            self._scanner = JsonScanner()
            self._take = self._json
        else:
            self._arguments = []
            properties = self._properties.get(name)
            self._schema = properties if isinstance(properties, dict) else {}
            self._take = self._tags

    def _json(self, pieces: list[Piece], over: bool) -> None:
        """Arguments as JSON: `feed` gives them out a stretch at a time, and nothing of them is held."""

    def _tags(self, pieces: list[Piece], over: bool) -> None:
        tags = self._form.tags
        assert tags is not None
        last = self._held[-1:]
        if last == self._ends_argument or over:
            for kind, mid in tags.mids.items():
                if match := _argument(tags.before, mid, tags.after).fullmatch(self._held):
                    separator = ", " if self._arguments else "{"
                    value = self._read(match["key"], match["value"], kind)
                    pieces.append(CallPiece(arguments=f"{separator}{as_json(match['key'])}: {value}"))
                    self._arguments.append(match["key"])
                    self._held = ""
                    return
        if self._done.fullmatch(self._held):
            pieces.append(CallPiece(arguments="}" if self._arguments else "{}"))
            self._held = ""
            self._take = self._between
        elif over:
            begun, before, tail = self._held.strip(), tags.before.strip(), self._form.tail.strip()
            if begun.startswith(before) or before.startswith(begun) or tail.startswith(begun):
                self._held = ""  # the beginning of what was to come

    @property
    def _ends_argument(self) -> str:
        tags = self._form.tags
        assert tags is not None
        return tags.after.rstrip()[-1:]

    def _read(self, key: str, written: str, kind: str) -> str:
        """A tagged value as JSON. Where the form does not say what is a string, the tool's schema does."""
        tags = self._form.tags
        assert tags is not None
        schema = self._schema.get(key)
        named = schema.get("type") if isinstance(schema, dict) else None
        if self._form.cdata and (wrapped := _CDATA.fullmatch(written)):
            return as_json(wrapped[1])
        if (tags.typed and kind == "string") or (not tags.typed and named == "string"):
            return as_json(written)
        if kinds := text_kinds(schema):
            with suppress(ValueError, RecursionError):
                value = json.loads(written)
                kind = "number" if type_of(value) == "integer" and "number" in kinds else type_of(value)
                if kind in kinds - {"string"}:
                    return as_json(value)
            return as_json(written)
        for read in (json.loads, ast.literal_eval):  # templates write some values as Python does
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                return as_json(read(written.strip()))
        return as_json(written)

    def _closing(self, pieces: list[Piece], over: bool) -> None:
        """Behind the arguments."""
        if self._done.fullmatch(self._held):
            self._held = ""
            self._take = self._between
        elif over:
            cut = "".join(self._held.split())
            if "".join(self._form.tail.split()).startswith(cut) or _MEMBER.match(self._held):
                self._held = ""  # the beginning of what was to come
        elif len(self._held) > len(self._form.tail) + _LONGEST_TAIL:
            self._give_up(pieces)

    def _between(self, pieces: list[Piece], over: bool) -> None:
        """Behind a call: another, the end of the section, or text."""
        begun = self._held.lstrip()
        if not begun:
            if over:
                self._held = ""
            return
        follows, end = (self._form.separator + self._form.head).strip(), self._form.end.strip()
        if self._form.is_object:
            follows = follows.partition("{")[0].rstrip() or "{"
        follows = follows if self._form.is_object else _first(_SLOT.split(follows)[0])
        if follows and begun.startswith(follows):
            self._held = begun
            self._take, self._pattern = self._header, self._next
            self._header(pieces, over)
        elif end and begun == end:
            self._held = ""
            self._take = self._text
        elif over or not any(text.startswith(begun) for text in (follows, end) if text):
            self._give_up(pieces)


class JsonScanner:
    """Knows where a JSON object, array or string ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.begun = False
        """Whether anything but white space has come."""
        self.over = False

    def length(self, text: str, start: int) -> int:
        """How many characters of `text` from `start` on belong to the value."""
        position = start
        while position < len(text) and not self.over and self.takes(text[position]):
            position += 1
        return position - start

    def takes(self, character: str) -> bool:
        """Whether `character` belongs to the value: other values than objects, arrays and strings do not."""
        if self._in_string:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._in_string = False
                self.over = self._depth == 0
            return True
        if character == '"':
            self._in_string = self.begun = True
        elif character in "{[":
            self._depth += 1
            self.begun = True
        elif character in "}]" and self._depth:
            self._depth -= 1
            self.over = self._depth == 0
        elif not self.begun:
            return False
        return True


def _balanced(text: str) -> bool:
    scanner = JsonScanner()
    return all(scanner.takes(character) for character in text.strip()) and scanner.over


def _first(text: str) -> str:
    """The marker, or the word, that `text` begins with."""
    found = re.match(r"<[^<>\s]*>?|\[[^\[\]]*\]?|\S+", text)
    return found[0] if found else ""


@lru_cache(maxsize=256)
def _argument(before: str, mid: str, after: str) -> re.Pattern[str]:
    """One argument. White space around its value is the form's own as far as the form has it; more is the value's."""
    opening, closing = mid.rstrip(), after.lstrip()
    space, space_behind = (
        f"(?:{re.escape(one)})?" if one else "" for one in (mid[len(opening) :], after[: -len(closing)])
    )
    return re.compile(
        rf"{_loose(before)}(?P<key>[\w.$-]+?){_loose(opening, keep_end=True)}{space}(?P<value>[\s\S]*?)"
        rf"{space_behind}{_loose(closing)}"
    )


def _compiled(form: CallForm, *, first: bool) -> re.Pattern[str]:
    lead = form.begin + form.head if first else form.separator + form.head
    behind = _loose(form.mid, keep_end=True)
    if not form.mid.strip():  # the name ends where arguments begin, or the end
        starts = {text.lstrip()[:1] for text in (form.tags.before, form.tail)} if form.tags else {"{"}
        behind = rf"\s*(?P<rest>[{''.join(map(re.escape, starts))}])"
    return re.compile(f"{_loose(lead.lstrip())}{_NAME}{behind}")


def _loose(text: str, *, keep_end: bool = False) -> str:
    """A pattern for `text` with any white space, or none, where it has some and around JSON's punctuation."""
    pattern = []
    for piece in re.split(rf"(\s+|[{ID}{NUMBER}{KEY}]|[{{}}\[\],:])", text):
        if not piece:
            continue
        if piece.isspace():
            pattern.append(r"\s*")
        elif piece in _SLOT_PATTERNS:
            pattern.append(_SLOT_PATTERNS[piece])
        elif piece in "{}[],:":
            pattern.append(rf"\s*{re.escape(piece)}\s*")
        else:
            pattern.append(re.escape(piece))
    joined = re.sub(r"(?:\\s\*)+", r"\\s*", "".join(pattern))
    return joined.removesuffix(r"\s*") if keep_end else joined
