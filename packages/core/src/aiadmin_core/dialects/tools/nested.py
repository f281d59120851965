"""Calls of MiniMax M3: arguments as tags, in which lists and objects are tags again. Every tag stands behind the same
marker, here `@`: `@<invoke name="f">@<city>Bonn@</city>@<days>@<item>3@</item>@</days>@</invoke>`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ...constraint.lark import TEXT, json_value, literal, marked
from ...constraint.schema import enforceable
from ...constraint.unenforceable import Unenforceable
from ...specs.content import Tool
from ...specs.request import ToolChoice
from ..dialect import CallGrammar, CallPiece, Dialect
from .form import as_json, require_free_text
from .sections import SectionParser
from .texts import raw_text

MARK = "]<]minimax[>["
OPEN, CLOSE = f"{MARK}<tool_call>", f"{MARK}</tool_call>"
_TAG = re.compile(rf"{re.escape(MARK)}<(/?)([^<>]+)>")
_INVOKE = re.compile(r'invoke name="([^"]+)"')


class NestedTags(Dialect):
    """Calls of MiniMax M3."""

    name = "nested tags"
    calls = True
    markers = (MARK, OPEN, CLOSE)

    def recognises(self, template: str) -> bool:
        return MARK in template and "<invoke name=" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> SectionParser:
        return SectionParser(OPEN, CLOSE, partial(read_calls, {tool.name: tool.parameters or {} for tool in tools}))

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        write = _Rules(control_tokens)
        calls = [write.call(tool, f"call{index}") for index, tool in enumerate(tools)]
        one = f"({' | '.join(calls)})"
        body = f'"\\n" {one}{"+" if choice.parallel else ""} {write.tag("/tool_call")}'
        return CallGrammar(opening=OPEN, body=body, rules=tuple(write.rules))


class _Rules:
    """Collects the rules of calls."""

    def __init__(self, control_tokens: Mapping[str, int]) -> None:
        self._tokens = control_tokens
        self._mark = marked(MARK, control_tokens)
        lazy = "" if MARK in control_tokens else "[lazy]"
        self.rules = [f"up_to_mark{lazy}: {TEXT} {self._mark}"] if lazy else [f"up_to_mark: TEXT {self._mark}"]
        self._definitions: Mapping[str, Any] = {}

    def tag(self, name: str) -> str:
        return marked(f"{MARK}<{name}>", self._tokens)

    def call(self, tool: Tool, rule: str) -> str:
        members = '""' if tool.parameters is None else self._arguments(tool, rule)
        opening = marked(f'{MARK}<invoke name="{tool.name}">', self._tokens)
        self.rules.append(f'{rule}: {opening} {members} {self.tag("/invoke")} "\\n"')
        return rule

    def _arguments(self, tool: Tool, rule: str) -> str:
        if tool.text_grammar is not None:
            return f"{self.tag('input')} {raw_text(tool)} {self.tag('/input')}"
        try:
            made = enforceable(tool.parameters or {})
            self._definitions = made.get("$defs", {}) if isinstance(made, dict) else {}
            return self._members(made if isinstance(made, dict) else {}, tool, rule)
        except Unenforceable:
            if tool.strict:
                raise
            return self._members({"properties": (tool.parameters or {}).get("properties", {})}, tool, rule, free=True)

    def _members(self, schema: Mapping[str, Any], tool: Tool, rule: str, *, free: bool = False) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        parts: list[str] = []
        for index, (key, part) in enumerate(properties.items()):
            value = f"up_to_mark {literal(f'</{key}>')}" if free else self._value(part, tool, f"{rule}_{index}", key)
            self.rules.append(f"{rule}_{index}: {self.tag(key)} {value}")
            parts.append(f"{rule}_{index}" if key in required else f"{rule}_{index}?")
        return " ".join(parts) or '""'

    def _value(self, schema: Any, tool: Tool, rule: str, key: str) -> str:
        """A value and its closing tag."""
        part = schema if isinstance(schema, dict) else {}
        while "$ref" in part:
            part = self._definitions[part["$ref"].removeprefix("#/$defs/")]
            part = part if isinstance(part, dict) else {}
            if rule.count("_") > _DEEPEST:
                raise Unenforceable("#/$ref", "it is nested too deep for the calls of this model")
        values = part.get("enum", [part["const"]] if "const" in part else None)
        kind, close = part.get("type"), self.tag(f"/{key}")
        if isinstance(values, list):
            return (
                f"({' | '.join(literal(one if isinstance(one, str) else json.dumps(one)) for one in values)}) {close}"
            )
        if kind == "object" and part.get("properties"):
            return f"{self._members(part, tool, rule)} {close}"
        if kind == "array":
            self.rules.append(
                f"{rule}_item: {self.tag('item')} {self._value(part.get('items', {}), tool, rule + '_item', 'item')}"
            )
            return f"{rule}_item{{{part.get('minItems', 0)},{part.get('maxItems', '')}}} {close}"
        if kind in ("integer", "number", "boolean"):
            return f"{json_value(part)} {close}"
        if kind in ("string", None) or isinstance(kind, list):
            require_free_text(part, tool, key)
            return f"up_to_mark {literal(f'</{key}>')}"
        raise Unenforceable(f"#/properties/{key}", "it cannot be enforced in the calls of this model")


_DEEPEST = 12


def read_calls(schemas: Mapping[str, Any], text: str) -> list[CallPiece]:
    """The calls between the tags of a section; none where it is something else. `schemas`, of the arguments by the
    tool's name, say what is a text."""
    calls: list[CallPiece] = []
    at = 0
    while opening := _TAG.search(text, at):
        name = _INVOKE.fullmatch(opening[2])
        if name is None or opening[1] or text[at : opening.start()].strip():
            return []
        try:
            arguments, at = _value(text, opening.end(), "invoke", schemas.get(name[1], {}))
        except (ValueError, RecursionError):
            return []
        calls.append(CallPiece(name=name[1], arguments=as_json(arguments if isinstance(arguments, dict) else {})))
    return calls if not text[at:].strip() else []


def _value(text: str, at: int, name: str, schema: Any) -> tuple[Any, int]:
    """What stands from `at` to the tag that closes `name`, and where it ends. Raises `ValueError`."""
    schema = schema if isinstance(schema, dict) else {}
    members: list[tuple[str, Any]] = []
    start = at
    while tag := _TAG.search(text, at):
        if tag[1]:
            if tag[2] != name:
                raise ValueError(tag[0])
            return (_made(members, schema) if members else _scalar(text[start : tag.start()], schema)), tag.end()
        part = schema.get("items", {}) if tag[2] == "item" else schema.get("properties", {}).get(tag[2], {})
        value, at = _value(text, tag.end(), tag[2], part)
        members.append((tag[2], value))
    raise ValueError("it is not closed")


def _made(members: Sequence[tuple[str, Any]], schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "array" or (schema.get("type") is None and all(name == "item" for name, _ in members)):
        return [value for _, value in members]
    return dict(members)


def _scalar(text: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind in ("object", "array") and not text.strip():
        return {} if kind == "object" else []
    if kind == "string":
        return text
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text if text or kind is None else {}
