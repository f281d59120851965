"""Gemma 4's calls: `<|tool_call>call:name{city:<|"|>Bonn<|"|>,days:3}<tool_call|>`, values in a notation of its own."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...constraint.lark import literal, marker
from ...constraint.notation import Notation, NotationWriter, rules_of_any
from ...constraint.unenforceable import Unenforceable
from ...specs.content import Tool
from ...specs.request import ToolChoice
from ..dialect import CallGrammar, CallPiece, Dialect
from .form import FREE_TEXTS, as_json
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
        notation = _notation(quote, raw)
        rules = [] if QUOTE in control_tokens else [f"up_to_quote[lazy]: TEXT {quote}"]
        rules += notation.rules
        for index, tool in enumerate(tools):
            arguments = _arguments(tool, f"call{index}", notation, quote, rules)
            rules.append(f'call{index}: "call:" {literal(tool.name)} {arguments}')
        one = " | ".join(f"call{index}" for index in range(len(tools)))
        return CallGrammar(
            opening=OPEN, body=f"({one}) {marker(CLOSE, control_tokens)}", rules=tuple(rules), separator=""
        )


def _notation(quote: str, raw: str) -> Notation:
    """Texts between quotation marks of Gemma's own, nothing escaped; members in the order of their names."""
    words = {True: '"true"', False: '"false"', None: '("null" | "None")'}
    text, key = f"({quote} {raw})", "/[A-Za-z_][A-Za-z0-9_]*/"

    def texts(schema: Mapping[str, Any]) -> str:
        raise Unenforceable(f"#/{next(key for key in schema if key != 'type')}", FREE_TEXTS)

    return Notation(
        name="gemma",
        rules=rules_of_any("gemma", text, key, words, '":"', '","'),
        text=text,
        exactly=lambda value: f"({quote} {literal(value)} {quote})" if value else f"({quote} {quote})",
        texts=texts,
        key=literal,
        any_key=key,
        words=words,
        colon='":"',
        comma='","',
        in_order=sorted,
    )


def _arguments(tool: Tool, name: str, notation: Notation, quote: str, rules: list[str]) -> str:
    """Members in the order of their names, as the template writes them. Raises `Unenforceable` for a strict tool."""
    schema = tool.parameters or {}
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return '"{" "}"' if tool.parameters is None else "gemma_map"
    if tool.text_grammar is not None:
        return f'"{{input:" {quote} {raw_text(tool)} {quote} "}}"'
    named = schema.get("required")
    required = named if isinstance(named, list) else []
    definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    members: list[tuple[str, str]] = []
    for index, (key, part) in enumerate(sorted(properties.items())):
        given = {**definitions, **part} if isinstance(part, dict) else {}
        value = _value(given, tool, key, NotationWriter(notation, f"{name}_{index}"), rules)
        rules.append(f"{name}_{index}: {literal(key + ':')} {value}")
        members.append((key, f"{name}_{index}"))
    ways: list[str] = []
    for first, (key, member) in enumerate(members):
        rest = [f'("," {one})' + ("" if other in required else "?") for other, one in members[first + 1 :]]
        ways.append(" ".join([member, *rest]))
        if key in required:
            break
    else:
        ways.append('""')
    return '"{" (' + " | ".join(ways) + ') "}"'


def _value(schema: Mapping[str, Any], tool: Tool, key: str, writer: NotationWriter, rules: list[str]) -> str:
    """A value; where its schema cannot be enforced, one of its type, unless the tool is strict."""
    try:
        expression = writer.value(schema)
    except Unenforceable as error:
        if tool.strict:
            raise Unenforceable(f"#/properties/{key}{error.pointer[1:]}", error.why) from error
        kind = schema.get("type")
        return writer.of_kind(kind if isinstance(kind, str) else None)
    rules += writer.rules
    return expression


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
