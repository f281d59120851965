"""Values of a JSON schema in other notations than JSON's usual one: Python's literals, JSON in ASCII. As pieces of a
Lark grammar; used by dialects of tool calls. Pure.

What is enforced is what `schema.enforceable` leaves of a schema, without what only llguidance's own JSON knows
(`allOf`, patterns of names, counts of properties): that is refused by its keyword.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .lark import json_value, literal
from .schema import enforceable
from .unenforceable import Unenforceable


@dataclass(frozen=True, kw_only=True)
class Notation:
    """How values are written. Texts are rule expressions."""

    name: str
    """Of the rules, to keep them apart from others'."""
    rules: Sequence[str]
    """Definitions that the other texts refer to."""
    text: str
    """Any text, with what stands around it."""
    exactly: Callable[[str], str]
    """This text, in every spelling the notation has."""
    texts: Callable[[Mapping[str, Any]], str]
    """A text that a schema of texts accepts. Raises `Unenforceable` with the keyword that cannot be enforced."""
    key: Callable[[str], str]
    """The name of a member."""
    any_key: str
    words: Mapping[Any, str]
    """Of True, False and None."""
    colon: str
    comma: str
    in_order: Callable[[Sequence[str]], Sequence[str]] = tuple
    """The order in which members are written, from that of the schema."""


class NotationWriter:
    """Collects the rules of values in one notation; `prefix` keeps them apart from those of other writers."""

    def __init__(self, notation: Notation, prefix: str) -> None:
        self._notation = notation
        self._prefix = prefix
        self.rules: list[str] = []
        self._definitions: Mapping[str, Any] = {}
        self._references: dict[str, str] = {}

    def value(self, schema: Mapping[str, Any] | bool) -> str:
        """The rule expression of a value. Raises `Unenforceable`."""
        made = enforceable(dict(schema) if isinstance(schema, Mapping) else schema)
        self._definitions = made.get("$defs", {}) if isinstance(made, dict) else {}
        self._references = {}
        return self._value(
            {key: part for key, part in made.items() if key != "$defs"} if isinstance(made, dict) else made
        )

    def of_kind(self, kind: str | None) -> str:
        """Any value of a type, or of all."""
        known = {"string": self._notation.text, "object": f"{self._notation.name}_map"}
        known["array"] = f"{self._notation.name}_list"
        if kind in ("number", "integer", "boolean", "null"):
            return self._typed(str(kind), {})
        return known.get(str(kind), f"{self._notation.name}_any")

    def _rule(self, expression: str) -> str:
        name = f"{self._prefix}_{self._notation.name}{len(self.rules)}"
        self.rules.append(f"{name}: {expression}")
        return name

    def _value(self, schema: Any) -> str:
        if schema is False:
            raise Unenforceable("#", "nothing satisfies it")
        if schema is True or not schema:
            return f"{self._notation.name}_any"
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        for keyword in ("allOf", "anyOf"):
            if keyword in schema:
                return self._branches(keyword, schema)
        if "const" in schema or "enum" in schema:
            values = schema.get("enum", [schema["const"]] if "const" in schema else [])
            return self._either(map(self.constant, values))
        kinds = schema.get("type", ["object", "array", "string", "number", "boolean", "null"])
        return self._either(self._typed(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))

    def _reference(self, reference: str) -> str:
        name = reference.removeprefix("#/$defs/")
        if name not in self._references:
            rule = f"{self._prefix}_{self._notation.name}_{name}"
            self._references[name] = rule
            self.rules.append(f"{rule}: {self._value(self._definitions[name])}")
        return self._references[name]

    def _branches(self, keyword: str, schema: Mapping[str, Any]) -> str:
        """`anyOf` with nothing but its type beside it; of `allOf` a single one."""
        beside = {key: part for key, part in schema.items() if key != keyword}
        branches = schema[keyword]
        if keyword == "anyOf" and all(isinstance(branch, dict) for branch in branches):
            if not beside:
                return self._either(map(self._value, branches))
            if not any(set(beside) & set(branch) or "$ref" in branch for branch in branches):
                return self._either(self._value(beside | branch) for branch in branches)
        if len(branches) == 1 and isinstance(branches[0], dict) and not set(beside) & set(branches[0]):
            return self._value(beside | branches[0])
        raise Unenforceable(f"#/{keyword}", "it cannot be enforced in the notation of this model's calls")

    def _either(self, ways: Iterator[str]) -> str:
        found = [*dict.fromkeys(ways)]
        if not found:
            raise Unenforceable("#", "nothing satisfies it")
        return found[0] if len(found) == 1 else f"({' | '.join(found)})"

    def constant(self, value: Any) -> str:
        """Exactly `value`."""
        notation = self._notation
        if isinstance(value, str):
            return notation.exactly(value)
        if isinstance(value, bool) or value is None:
            return notation.words[value]
        if isinstance(value, dict):
            members = [f"{notation.key(key)} {notation.colon} {self.constant(part)}" for key, part in value.items()]
            return f'"{{" {f" {notation.comma} ".join(members)} "}}"'
        if isinstance(value, list):
            return f'"[" {f" {notation.comma} ".join(map(self.constant, value))} "]"'
        return literal(json.dumps(value))

    def _typed(self, kind: str, schema: Mapping[str, Any]) -> str:
        notation = self._notation
        match kind:
            case "string":
                asked = {key: part for key, part in schema.items() if key in _OF_TEXTS}
                return notation.texts({"type": "string", **asked}) if asked else notation.text
            case "number" | "integer":
                return json_value({**{key: part for key, part in schema.items() if key in _OF_NUMBERS}, "type": kind})
            case "boolean":
                return f"({notation.words[True]} | {notation.words[False]})"
            case "null":
                return notation.words[None]
            case "array":
                return self._array(schema)
            case _:
                return self.object(schema)

    def _array(self, schema: Mapping[str, Any]) -> str:
        first = [self._rule(self._value(part)) for part in schema.get("prefixItems", ())]
        more = schema.get("items", True)
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        some = [n for n in range(len(first)) if least <= n and (most is None or n <= most)]
        ways = [f" {self._notation.comma} ".join(first[:n]) or '""' for n in some]
        if most is None or most >= len(first):
            ways.append(
                self._items(first, more, max(0, least - len(first)), None if most is None else most - len(first))
            )
        return f'("[" ({" | ".join(ways)}) "]")'

    def _items(self, first: Sequence[str], more: Any, least: int, most: int | None) -> str:
        """`first`, and behind it from `least` to `most` items that `more` accepts."""
        comma = self._notation.comma
        before = f" {comma} ".join(first)
        if more is False or most == 0:
            return before or '""'
        item = self._rule(self._value(more))
        if before:
            return f"{before} ({comma} {item}){{{least},{'' if most is None else most}}}"
        behind = f"{item} ({comma} {item}){{{max(0, least - 1)},{'' if most is None else most - 1}}}"
        return behind if least else f"({behind})?"

    def object(self, schema: Mapping[str, Any], opening: str = '"{"', closing: str = '"}"') -> str:
        """The members of `schema` between `opening` and `closing`; those not required may be left out."""
        for keyword in ("patternProperties", "minProperties", "maxProperties"):
            if schema.get(keyword):
                raise Unenforceable(f"#/{keyword}", "it cannot be enforced in the notation of this model's calls")
        notation, properties = self._notation, schema.get("properties", {})
        required, others = set(schema.get("required", ())), schema.get("additionalProperties", not properties)
        if missing := sorted(required - set(properties)):
            properties = {**properties, **dict.fromkeys(missing, True)}
        names = [name for name in notation.in_order(list(properties)) if properties[name] is not False]
        members = [
            f"{notation.key(name)} {notation.colon} {self._rule(self._value(properties[name]))}" for name in names
        ]
        rest = '""'
        if others is not False and not properties:
            one = self._rule(f"{notation.any_key} {notation.colon} {self._value(others)}")
            return f"({opening} ({one} ({notation.comma} {one})*)? {closing})"
        ways: list[str] = []
        for name, member in zip(reversed(names), reversed(members), strict=True):
            one = self._rule(member)
            if name in required:
                ways.clear()
            ways.append(f"{one} {rest}")
            rest = self._rule(f"({notation.comma} {one}){'' if name in required else '?'} {rest}")
        if not required & set(names):
            ways.append('""')
        return f"({opening} ({' | '.join(ways)}) {closing})"


_OF_TEXTS = frozenset(("pattern", "format", "minLength", "maxLength"))
_OF_NUMBERS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


def rules_of_any(name: str, text: str, any_key: str, words: Mapping[Any, str], colon: str, comma: str) -> list[str]:
    """The rules of any value."""
    literals = " | ".join(words.values())
    return [
        f"{name}_any: {text} | {name}_number | {literals} | {name}_map | {name}_list",
        f"{name}_number: {json_value({'type': 'number'})}",
        f'{name}_map: "{{" ({any_key} {colon} {name}_any ({comma} {any_key} {colon} {name}_any)*)? "}}"',
        f'{name}_list: "[" ({name}_any ({comma} {name}_any)*)? "]"',
    ]


def _python(*, raw: bool) -> Notation:
    words = {True: '("True" | "true")', False: '("False" | "false")', None: '("None" | "null")'}
    text = "(py_single | py_double)"
    escapes = r"\\['\"\\bfnrt]|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}"
    single, double = (
        rf"(?s:[^{quote}])*" if raw else rf"([^{quote}\\\x00-\x08\x0a-\x1f]|{escapes})*" for quote in ("'", r"\"")
    )

    def exactly(value: str) -> str:
        spelled = (f'"{value}"', f"'{value}'") if raw else (json.dumps(value, ensure_ascii=False), repr(value))
        return f"({' | '.join(dict.fromkeys(map(literal, spelled)))})"

    return Notation(
        name="py",
        rules=(
            f"py_single: /'{single}'/",
            f'py_double: /\\"{double}\\"/',
            *rules_of_any("py", text, text, words, '":" / ?/', '"," / ?/'),
        ),
        text=text,
        exactly=exactly,
        texts=json_value,
        key=exactly,
        any_key=text,
        words=words,
        colon='":" / ?/',
        comma='"," / ?/',
    )


def _ascii() -> Notation:
    words = {True: '"true"', False: '"false"', None: '"null"'}

    def exactly(value: str) -> str:
        both = (json.dumps(value, ensure_ascii=False), json.dumps(value))
        return "(" + " | ".join(map(literal, dict.fromkeys(both))) + ")"

    return Notation(
        name="ascii",
        rules=(
            r"ascii_text: /\"([^\"\\\x00-\x1f]|\\[\"\\\/bfnrt]|\\u[0-9a-fA-F]{4})*\"/",
            *rules_of_any("ascii", "ascii_text", "ascii_text", words, '": "', '", "'),
        ),
        text="ascii_text",
        exactly=exactly,
        texts=json_value,
        key=exactly,
        any_key="ascii_text",
        words=words,
        colon='": "',
        comma='", "',
    )


PYTHON, RAW_PYTHON, ASCII = _python(raw=False), _python(raw=True), _ascii()
