"""Calls as Python writes them: LFM2's `<|tool_call_start|>[name(city="Bonn", days=3)]<|tool_call_end|>`."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from ...constraint.lark import literal, marker
from ...specs.content import Tool
from ...specs.request import ToolChoice
from ..dialect import CallGrammar, CallPiece, Dialect
from .form import as_json, value_rule
from .sections import SectionParser
from .texts import quoted_text

OPEN, CLOSE = "<|tool_call_start|>", "<|tool_call_end|>"
_JSON_NAMES = {"true": True, "false": False, "null": None}


class Pythonic(Dialect):
    """Calls of LFM2, whose template says what the tools are and not how they are called."""

    name = "pythonic"
    calls = True
    markers = (OPEN, CLOSE)

    def recognises(self, template: str) -> bool:
        return OPEN in template or "<|tool_list_start|>" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> SectionParser:
        return SectionParser(OPEN, CLOSE, read_calls)

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        rules = [f'call{n}: {literal(tool.name)} "(" {_arguments(tool)} ")"' for n, tool in enumerate(tools)]
        rules.append("one: " + " | ".join(f"call{n}" for n in range(len(tools))))
        more = '(", " one)*' if choice.parallel else ""
        return CallGrammar(opening=OPEN, body=f'"[" one {more} "]" {marker(CLOSE, control_tokens)}', rules=tuple(rules))


def _arguments(tool: Tool) -> str:
    """Arguments in the order of the schema; what is not required may be left out."""
    schema = tool.parameters or {}
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return '""'
    named = schema.get("required")
    required = named if isinstance(named, list) else []
    members = [(name, f"{literal(f'{name}=')} {_value(part, tool, schema)}") for name, part in properties.items()]
    ways: list[str] = []
    for first, (name, member) in enumerate(members):
        rest = [f'(", " {one})' + ("" if other in required else "?") for other, one in members[first + 1 :]]
        ways.append(" ".join([member, *rest]))
        if name in required:
            break
    else:
        ways.append('""')
    return "(" + " | ".join(ways) + ")"


def _value(part: Any, tool: Tool, root: Mapping[str, Any]) -> str:
    if tool.text_grammar is not None:
        return f'"\\"" {quoted_text(tool)} "\\""'
    if isinstance(part, dict) and part.get("type") == "boolean":
        return '("True" | "False")'
    definitions = {name: root[name] for name in ("$defs", "definitions") if name in root}
    return value_rule({**definitions, **part} if isinstance(part, dict) else {}, tool)


def read_calls(text: str) -> list[CallPiece]:
    """`[f(a=1), g()]` as calls; none where it is something else."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        return [_call(node) for node in nodes]
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return []


def _call(node: ast.expr) -> CallPiece:
    if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("no call of keywords")
    arguments = {keyword.arg: ast.literal_eval(_JsonNames().visit(keyword.value)) for keyword in node.keywords}
    return CallPiece(name=ast.unparse(node.func), arguments=as_json(arguments))


class _JsonNames(ast.NodeTransformer):
    """`true`, `false` and `null` mean what they mean in JSON."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node
