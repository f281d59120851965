"""The form in which a family of models writes calls: the literal texts around names and arguments. Found by `derive`,
read by `reading`, and written as a grammar here. Pure.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...constraint.lark import TEXT, json_value, literal
from ...constraint.notation import ASCII, PYTHON, Notation, NotationWriter
from ...constraint.unenforceable import Unenforceable
from ...specs.content import Tool
from ..dialect import CallGrammar
from .texts import quoted_text, raw_text

ID, NUMBER, KEY = "\ue000", "\ue001", "\ue002"
"""Stand in a form's texts for the id of a call, a running number, and the name of an argument."""
_SLOTS = {ID: "/[a-zA-Z0-9]{9}/", NUMBER: "/[0-9]{1,3}/"}


@dataclass(frozen=True, kw_only=True)
class Tags:
    """Arguments written one by one: `before` KEY `mid` value `after`."""

    before: str
    mids: Mapping[str, str]
    """By the JSON type of the value; most forms have one for all."""
    after: str

    @property
    def typed(self) -> bool:
        """Whether the text says if a value is a string."""
        return self.mids["string"] != self.mids["number"]


@dataclass(frozen=True, kw_only=True)
class CallForm:
    """A section is `begin`, calls with `separator` between them, and `end`; a call is `head` name `mid` arguments
    `tail`. Arguments are JSON, or `tags`."""

    begin: str
    head: str
    mid: str
    tail: str
    separator: str = ""
    end: str = ""
    tags: Tags | None = None
    indented: bool = False
    """Whether its JSON has white space of its own, not the usual one."""
    ascii: bool = False
    """Whether its JSON has other characters than those of ASCII as escapes."""
    python: bool = False
    """Whether its tagged values are written as Python does where they are no texts."""
    cdata: bool = False
    """Whether tagged texts may stand in `<![CDATA[` and `]]>`."""
    open_end: bool = False
    """Whether a section of one call goes without `end`."""
    empty: str = ""
    """What stands for the arguments where there are none, and `tags`."""

    @property
    def opening(self) -> str:
        """The marker that a section begins with, "" where calls are bare JSON."""
        start = (self.begin + self.head).lstrip()
        found = _MARKER.match(start)
        if found and start.count(found[0]) > 1:  # a marker that calls open with, too
            found = _MARKED_WORD.match(start)
        return found[0] if found else ""

    @property
    def texts(self) -> str:
        """All its literal texts."""
        tags = self.tags
        inner = [tags.before, tags.after, *tags.mids.values()] if tags else []
        return "\n".join((self.begin, self.head, self.mid, self.tail, self.separator, self.end, *inner))

    @property
    def is_object(self) -> bool:
        """Whether name and arguments are members of one JSON object."""
        return self.tags is None and self.head.rstrip().endswith('"') and "{" in self.head

    def grammar(self, tools: Sequence[Tool], control_tokens: Mapping[str, int], *, parallel: bool) -> CallGrammar:
        """A section of calls of `tools`. Raises `Unenforceable` for a strict tool whose schema is."""
        write = _Rules(control_tokens)
        one = " | ".join(write.call(self, tool, index) for index, tool in enumerate(tools))
        write.rules.append(f"one: {one}")
        opening = self.opening
        start = (self.begin + self.head).lstrip()[len(opening) :]
        in_begin = len(self.begin.lstrip()) >= len(opening)
        lead = write.text(self.begin.lstrip()[len(opening) :]) if in_begin else ""
        first = write.text(start) if not in_begin else write.text(self.head)
        more = f"({write.text(self.separator)} {write.text(self.head)} one)*" if parallel else ""
        end = write.text(self.end.rstrip())
        if self.open_end and not more:
            end = f"({end})?"
        elif self.open_end:
            more, end = f"({more[:-1]}+ {end} | ({end})?)", ""
        return CallGrammar(opening=opening, body=f"{lead} {first} one {more} {end}", rules=tuple(write.rules))


_MARKER = re.compile(r"<[^<>\s\"]*[>=]|\[[A-Za-z_/|]+\]|<\S+?>|[^\s{\[\"]+")


_MARKED_WORD = re.compile(r"<[^<>\s\"]*>\w*")


def arguments_rules(tool: Tool, name: str) -> list[str]:
    """The rule `name` of `tool`'s arguments as JSON, in ASCII or not, and what it needs. Raises `Unenforceable` as
    `CallForm.grammar` does."""
    if tool.text_grammar is not None:
        return [f"{name}: {text_argument(tool)}"]
    schema, writer = _parameters(tool), NotationWriter(ASCII, name)
    try:
        other = f" | {writer.value(schema)}"
    except Unenforceable:
        return [f"{name}: {value_rule(schema, tool)}"]
    return [f"{name}: {value_rule(schema, tool)}{other}", *writer.rules]


class _Rules:
    """Collects Lark rules."""

    def __init__(self, control_tokens: Mapping[str, int]) -> None:
        self.rules: list[str] = []
        self._tokens = control_tokens
        special = sorted((text for text in control_tokens if text), key=len, reverse=True)
        slots = [*_SLOTS, KEY]
        self._pieces = re.compile("(" + "|".join(map(re.escape, [*special, *slots])) + ")")
        self._notations: set[str] = set()

    def text(self, text: str, key: str = "") -> str:
        """`text` as a rule expression: its control tokens as such, its slots filled."""
        found: list[str] = []
        for piece in self._pieces.split(text.replace(KEY, key)):
            if piece in self._tokens:
                found.append(f"<[{self._tokens[piece]}]>")
            elif piece in _SLOTS:
                found.append(_SLOTS[piece])
            elif piece:
                found.append(literal(piece))
        return " ".join(found)

    def call(self, form: CallForm, tool: Tool, index: int) -> str:
        name = f"call{index}"
        arguments = self._tagged(form, form.tags, tool, name) if form.tags else self._json(form, tool, name)
        self.rules.append(f"{name}: {literal(tool.name)} {self.text(form.mid)} {arguments} {self.text(form.tail)}")
        return name

    def _json(self, form: CallForm, tool: Tool, name: str) -> str:
        if tool.text_grammar is not None:
            self.rules.append(f"{name}_arguments: {text_argument(tool)}")
            return f"{name}_arguments"
        schema = _parameters(tool)
        if form.indented:
            schema = {**schema, "x-guidance": {"whitespace_flexible": True, "whitespace_pattern": r"[ \n]{0,40}"}}
        other = self._in_notation(ASCII, schema, name) if form.ascii and not form.indented else ""
        self.rules.append(f"{name}_arguments: {value_rule(schema, tool)}{other}")
        return f"{name}_arguments"

    def _in_notation(self, notation: Notation, schema: Mapping[str, Any], rule: str) -> str:
        """Another way to write a value of `schema`; none where that cannot be enforced."""
        writer = NotationWriter(notation, rule)
        try:
            expression = writer.value(schema)
        except Unenforceable:
            return ""
        self.rules += writer.rules if notation.name in self._notations else [*notation.rules, *writer.rules]
        self._notations.add(notation.name)
        return f" | {expression}"

    def _tagged(self, form: CallForm, tags: Tags, tool: Tool, name: str) -> str:
        schema = _parameters(tool)
        properties = schema.get("properties")
        required = schema.get("required")
        parts: list[str] = []
        for index, (key, part) in enumerate((properties if isinstance(properties, dict) else {}).items()):
            rule = f"{name}_{index}"
            self.rules.append(f"{rule}: {self._argument(form, tags, key, part, schema, tool, rule)}")
            parts.append(rule if key in (required if isinstance(required, list) else ()) else f"{rule}?")
        empty = f" | {literal(form.empty)}" if form.empty and all(part.endswith("?") for part in parts) else ""
        return f"({' '.join(parts)}{empty})" if parts or empty else ""

    def _argument(self, form: CallForm, tags: Tags, key: str, part: Any, schema: Any, tool: Tool, rule: str) -> str:
        part = part if isinstance(part, dict) else {}
        kinds = part.get("type")
        values = part.get("enum", [part["const"]] if "const" in part else None)
        before, after = f"{self.text(tags.before)} {literal(key)}", self.text(tags.after, key)
        if tool.text_grammar is not None:
            return f"{before}{self._mid(tags, 'string', key)} {raw_text(tool)} {after}"
        if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
            return f"{before}{self._mid(tags, 'string', key)} ({' | '.join(map(literal, values))}) {after}"
        if kinds == "string" or (kinds is None and not part) or text_kinds(part):
            require_free_text(part, tool, key)
            return f"{before}{self._mid(tags, 'string', key)} {self._raw(tags.after, key, rule)}"
        definitions = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
        kind = kinds if isinstance(kinds, str) else "object"
        mid = self._mid(tags, "number" if kind == "integer" else kind, key)
        if kind == "boolean":
            return f'{before}{mid} ("true" | "false" | "True" | "False") {after}'
        schema = {**definitions, **part}
        other = self._in_notation(PYTHON, schema, rule) if form.python else ""
        return f"{before}{mid} ({value_rule(schema, tool)}{other}) {after}"

    def _mid(self, tags: Tags, kind: str, key: str) -> str:
        return " " + self.text(tags.mids.get(kind, tags.mids["string"]), key)

    def _raw(self, after: str, key: str, rule: str) -> str:
        """Any text up to what ends it."""
        written = after.replace(KEY, key)
        if (head := self._pieces.match(written)) and head[0] in self._tokens:
            return f"{TEXT} {self.text(written)}"
        stop = next((piece for piece in self._pieces.split(written) if piece), "")
        rest = self.text(written[len(stop) :])
        self.rules.append(f"{rule}_raw[lazy]: {TEXT} {literal(stop)}")
        return f"{rule}_raw {rest}"


def text_kinds(schema: Any) -> frozenset[str]:
    """The types of a value that may be any text, like an optional one (`anyOf` of a text and null); none where it may
    be no text, or texts are bound. Between tags such a value is written as it is, not as JSON."""
    if not isinstance(schema, dict):
        return frozenset()
    branches = schema.get("anyOf") or schema.get("oneOf") or [schema]
    found: set[str] = set()
    for branch in branches if isinstance(branches, list) else ():
        named = branch.get("type") if isinstance(branch, dict) else None
        kinds = {named} if isinstance(named, str) else set(named or ())
        if not kinds or ("string" in kinds and any(key in branch for key in _BOUND)):
            return frozenset()
        found |= kinds
    return frozenset(found) if "string" in found else frozenset()


_BOUND = ("enum", "const", "pattern", "format", "minLength", "maxLength")


def arguments_rule(tool: Tool, name: str) -> str:
    """The rule `name` of `tool`'s arguments as JSON. Raises `Unenforceable` as `CallForm.grammar` does."""
    return f"{name}: {value_rule(_parameters(tool), tool) if tool.text_grammar is None else text_argument(tool)}"


def text_argument(tool: Tool) -> str:
    """The rule expression of the arguments of a tool whose one argument is a text with a grammar, as JSON."""
    opening, closing = literal('{"input": "'), literal('"}')
    return f"{opening} {quoted_text(tool)} {closing}"


FREE_TEXTS = "texts in this model's calls are free"


def require_free_text(schema: Mapping[str, Any], tool: Tool, name: str) -> None:
    """Texts that are not written as JSON are free. Raises `Unenforceable` where a strict tool asks more of one."""
    asked = next((keyword for keyword in ("pattern", "format", "minLength", "maxLength") if keyword in schema), None)
    if tool.strict and asked:
        raise Unenforceable(f"#/properties/{name}/{asked}", FREE_TEXTS)


def literal_name(tool: Tool) -> str:
    """A tool's name in a rule expression."""
    return literal(tool.name)


def _parameters(tool: Tool) -> dict[str, Any]:
    """The schema of a tool's arguments; a tool without one takes none."""
    return {"type": "object", "additionalProperties": False} if tool.parameters is None else tool.parameters


def value_rule(schema: Mapping[str, Any], tool: Tool) -> str:
    """JSON of `schema`; where it cannot be enforced, of any value of its type, unless the tool is strict."""
    try:
        return json_value(schema)
    except Unenforceable:
        if tool.strict:
            raise
        kind = schema.get("type")
        return json_value({"type": kind} if isinstance(kind, str) else {})


def as_json(value: Any) -> str:
    """A value as arguments are given out."""
    return json.dumps(value, ensure_ascii=False)
