"""Gemma 4's calls: `<|tool_call>call:name{city:<|"|>Bonn<|"|>,days:3}<tool_call|>`, values in a notation of its own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...constraint.lark import json_value, literal, marker
from ...specs.content import Tool
from ...specs.request import ToolChoice
from ..dialect import CallGrammar, CallPiece, Dialect
from .form import as_json, require_free_text
from .sections import SectionParser
from .texts import raw_text

OPEN, CLOSE, QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_HEAD = re.compile(r"\s*call:([\w./-]+)(?=\{)")
_PLAIN = re.compile(r"[^,{}\[\]]+")
_KEY = re.compile(r"\s*([^:{}\[\],]+):")


class Gemma(Dialect):
    """Calls of Gemma 4."""

    name = "gemma"
    calls = True
    markers = (OPEN, CLOSE, QUOTE)

    def recognises(self, template: str) -> bool:
        return f"{OPEN}call:" in template and CLOSE in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> SectionParser:
        return SectionParser(OPEN, CLOSE, read_call)

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        quote = marker(QUOTE, control_tokens)
        raw = f"TEXT {quote}" if QUOTE in control_tokens else "up_to_quote"
        rules = [] if QUOTE in control_tokens else [f"up_to_quote[lazy]: TEXT {quote}"]
        rules += [
            f"text: {quote} {raw}",
            f"number: {json_value({'type': 'number'})}",
            "key: /[A-Za-z_][A-Za-z0-9_]*/",
            'value: text | number | "true" | "false" | "null" | "None" | object | array',
            'object: "{" (key ":" value ("," key ":" value)*)? "}"',
            'array: "[" (value ("," value)*)? "]"',
        ]
        for index, tool in enumerate(tools):
            rules.append(f'call{index}: "call:" {literal(tool.name)} {_arguments(tool, quote)}')
        one = " | ".join(f"call{index}" for index in range(len(tools)))
        return CallGrammar(
            opening=OPEN, body=f"({one}) {marker(CLOSE, control_tokens)}", rules=tuple(rules), separator=""
        )


def _arguments(tool: Tool, quote: str) -> str:
    """Members in the order of their names, as the template writes them."""
    schema = tool.parameters or {}
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return '"{" "}"' if tool.parameters is None else "object"
    named = schema.get("required")
    required = named if isinstance(named, list) else []
    members = [
        (name, f"{literal(name + ':')} {_value(part, tool, name, quote)}") for name, part in sorted(properties.items())
    ]
    ways: list[str] = []
    for first, (name, member) in enumerate(members):
        rest = [f'("," {one})' + ("" if other in required else "?") for other, one in members[first + 1 :]]
        ways.append(" ".join([member, *rest]))
        if name in required:
            break
    else:
        ways.append('""')
    return '"{" (' + " | ".join(ways) + ') "}"'


def _value(part: Any, tool: Tool, name: str, quote: str) -> str:
    part = part if isinstance(part, dict) else {}
    kind = part.get("type")
    values = part.get("enum")
    if isinstance(values, list) and values and all(isinstance(value, str) for value in values):
        return f"{quote} ({' | '.join(map(literal, values))}) {quote}"
    if tool.text_grammar is not None:
        return f"{quote} {raw_text(tool)} {quote}"
    if kind == "string":
        require_free_text(part, tool, name)
        return "text"
    if kind in ("integer", "number", "boolean", "null"):
        return json_value(part)
    return {"object": "object", "array": "array"}.get(str(kind), "value")


def read_call(text: str) -> list[CallPiece]:
    """`call:name{...}` as the call it is; none where it is something else."""
    head = _HEAD.match(text)
    if head is None:
        return []
    try:
        arguments, end = _read(text, head.end())
    except (ValueError, IndexError, RecursionError):
        return []
    if text[end:].strip() or not isinstance(arguments, dict):
        return []
    return [CallPiece(name=head[1], arguments=as_json(arguments))]


def _read(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where it ends."""
    if text.startswith(QUOTE, at):
        end = text.index(QUOTE, at + len(QUOTE))
        return text[at + len(QUOTE) : end], end + len(QUOTE)
    if text[at] == "{":
        return _read_members(text, at + 1)
    if text[at] == "[":
        items: list[Any] = []
        at += 1
        while text[at] != "]":
            item, at = _read(text, at)
            items.append(item)
            at += text[at] == ","
        return items, at + 1
    plain = _PLAIN.match(text, at)
    if plain is None:
        raise ValueError(text[at:])
    return _plain(plain[0].strip()), plain.end()


def _read_members(text: str, at: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    while text[at] != "}":
        key = _KEY.match(text, at)
        if key is None:
            raise ValueError(text[at:])
        members[key[1].strip().replace(QUOTE, "")], at = _read(text, key.end())
        at += text[at] == ","
    return members, at + 1


def _plain(word: str) -> Any:
    known = {"true": True, "false": False, "null": None, "None": None}
    if word in known:
        return known[word]
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word
