"""Calls as Python writes them: LFM2's `<|tool_call_start|>[name(city="Bonn", days=3)]<|tool_call_end|>`, Llama's
`[name(city="Bonn")]`, Olmo's with a call a line."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...constraint.lark import literal, marked
from ...constraint.notation import PYTHON, RAW_PYTHON, Notation, NotationWriter
from ...constraint.unenforceable import Unenforceable
from ...specs.content import Tool
from ...specs.request import ToolChoice
from ..dialect import CallGrammar, CallPiece, Dialect, Parser
from .bare import BareParser
from .form import as_json, value_rule
from .sections import SectionParser
from .texts import quoted_text

OPEN, CLOSE = "<|tool_call_start|>", "<|tool_call_end|>"
_JSON_NAMES = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Pythonic(Dialect):
    """A section is `opening`, calls with `separator` between them, and `closing`. Without `opening` an answer is calls
    from its beginning, or none. The defaults are LFM2's, whose templates may not say how tools are called."""

    opening: str = OPEN
    before: str = "["
    separator: str = ", "
    after: str = "]"
    closing: str = CLOSE
    raw: bool = False
    """Whether texts stand between quotation marks as they are, nothing in them escaped."""

    name = "pythonic"
    calls = True

    @property
    def markers(self) -> Sequence[str]:  # type: ignore[override]
        return (self.opening, self.closing) if self.opening else ()

    def recognises(self, template: str) -> bool:
        return OPEN in template or "<|tool_list_start|>" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> Parser:
        read = read_raw_calls if self.raw else read_calls
        if not self.opening:
            return BareParser(self.before, self.after, read)
        return SectionParser(self.opening, self.closing, read)

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        notation = RAW_PYTHON if self.raw else PYTHON
        rules = [*notation.rules, "one: " + " | ".join(f"call{n}" for n in range(len(tools)))]
        for n, tool in enumerate(tools):
            rules.append(f'call{n}: {literal(tool.name)} "(" {_arguments(tool, f"call{n}", notation, rules)} ")"')
        more = f"({literal(self.separator)} one)*" if choice.parallel else ""
        ends = " ".join(filter(None, (literal(self.after) if self.after else "", marked(self.closing, control_tokens))))
        begins = literal(self.before) if self.before else ""
        return CallGrammar(opening=self.opening, body=f"{begins} one {more} {ends}", rules=tuple(rules))


def _arguments(tool: Tool, name: str, notation: Notation, rules: list[str]) -> str:
    """Arguments in the order of the schema; what is not required may be left out."""
    schema = tool.parameters or {}
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        return '""'
    named = schema.get("required")
    required = named if isinstance(named, list) else []
    members: list[tuple[str, str]] = []
    for n, (key, part) in enumerate(properties.items()):
        writer = NotationWriter(notation, f"{name}_{n}")
        rules.append(f"{name}_{n}: {literal(f'{key}=')} {_value(part, tool, schema, writer, rules)}")
        members.append((key, f"{name}_{n}"))
    ways: list[str] = []
    for first, (key, member) in enumerate(members):
        rest = [f'(", " {one})' + ("" if other in required else "?") for other, one in members[first + 1 :]]
        ways.append(" ".join([member, *rest]))
        if key in required:
            break
    else:
        ways.append('""')
    return "(" + " | ".join(ways) + ")"


def _value(part: Any, tool: Tool, root: Mapping[str, Any], writer: NotationWriter, rules: list[str]) -> str:
    if tool.text_grammar is not None:
        return f'"\\"" {quoted_text(tool)} "\\""'
    definitions = {name: root[name] for name in ("$defs", "definitions") if name in root}
    schema = {**definitions, **part} if isinstance(part, dict) else {}
    try:
        expression = writer.value(schema)
    except Unenforceable:
        return value_rule(schema, tool)
    rules += writer.rules
    return expression


def read_calls(text: str) -> list[CallPiece]:
    """`[f(a=1), g()]` as calls, or a call a line; none where it is something else."""
    for notation in (text.strip(), f"[{','.join(text.strip().splitlines())}]"):
        try:
            tree = ast.parse(notation, mode="eval").body
            nodes = tree.elts if isinstance(tree, ast.List) else [tree]
            return [_call(node) for node in nodes]
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return _unescaped_calls(text)


def read_raw_calls(text: str) -> list[CallPiece]:
    """The same where nothing is escaped: a backslash is one."""
    return _unescaped_calls(text) or read_calls(text)


def _call(node: ast.expr) -> CallPiece:
    if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("no call of keywords")
    arguments = {keyword.arg: ast.literal_eval(_JsonNames().visit(keyword.value)) for keyword in node.keywords}
    return CallPiece(name=ast.unparse(node.func), arguments=as_json(arguments))


class _JsonNames(ast.NodeTransformer):
    """`true`, `false` and `null` mean what they mean in JSON."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node


_CALL = re.compile(r"\s*,?\s*([A-Za-z_][\w.-]*)\(")
_KEY = re.compile(r"\s*,?\s*([A-Za-z_]\w*)=")
_QUOTED = re.compile(r"""(['"])([\s\S]*?)\1(?=\s*(?:,\s*[A-Za-z_]\w*=|\)\s*(?:\]|,|$)))""")
_PLAIN = re.compile(r"[\s\S]*?(?=\s*(?:,\s*[A-Za-z_]\w*=|\)\s*(?:\]|,|$)))")


def _unescaped_calls(text: str) -> list[CallPiece]:
    """The same where texts stand between quotation marks as they are: some templates escape nothing in them."""
    written = text.strip().removeprefix("[").removesuffix("]")
    found: list[CallPiece] = []
    at = 0
    while at < len(written.rstrip()):
        head = _CALL.match(written, at)
        if head is None:
            return []
        at, arguments = head.end(), dict[str, Any]()
        while key := _KEY.match(written, at):
            quoted = _QUOTED.match(written, key.end())
            value = quoted or _PLAIN.match(written, key.end())
            if value is None:
                return []
            try:
                arguments[key[1]] = quoted[2] if quoted else _literal(value[0])
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                return []
            at = value.end()
        if not written.startswith(")", at):
            return []
        at += 1
        found.append(CallPiece(name=head[1], arguments=as_json(arguments)))
    return found


def _literal(text: str) -> Any:
    return ast.literal_eval(_JsonNames().visit(ast.parse(text.strip(), mode="eval").body))
