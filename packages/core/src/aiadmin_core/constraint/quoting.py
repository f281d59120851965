"""Lark grammars of texts that stand inside of a JSON string: the same texts, escaped as JSON escapes them. Used by
dialects of tool calls, for tools whose one argument is a text with a grammar.

What has to be escaped stands in terminals. llguidance's lexer is greedy and looks one byte ahead, and escapes begin
alike: where an expression could go on with one, and what follows begins with another, it would be stuck behind the
backslash. So a terminal with characters that are escaped becomes rules: stretches without them, and escapes alone.
"""

import json
from collections.abc import Iterator
from functools import lru_cache

from llguidance import LLMatcher

from .languages import (
    Language,
    Ranges,
    automaton,
    between,
    both,
    chars,
    complement,
    ends,
    is_empty,
    others,
    repeated,
    to_class,
)
from .terminals import COMMON, Terminals, Token, tokens

_SPECIAL = chars([(0, 31), (34, 34), (92, 92)])
"""The characters that JSON escapes."""
_PREFIX = "escaped-"
"""Of the names of rules that are made here."""
_MOST_STATES = 300
_LONGEST_REASON = 500


@lru_cache(maxsize=64)
def read_lark(grammar: str) -> None:
    """Raises `ValueError` with what llguidance says where it is no grammar."""
    if fault := LLMatcher.validate_grammar(LLMatcher.grammar_from_lark(grammar)):
        raise ValueError(" ".join(fault.split()).rstrip(".")[:_LONGEST_REASON])


@lru_cache(maxsize=64)
def quoted(grammar: str) -> str:
    """The grammar of what `grammar` derives, as it is written between the quotation marks of a JSON string.

    Raises `ValueError` where something in it cannot stand there.
    """
    return _Writer(grammar).written()


class _Writer:
    """One grammar on its way."""

    def __init__(self, grammar: str) -> None:
        self._statements = list(_statements(grammar))
        definitions = {name: body for kind, name, body in self._statements if kind == "terminal"}
        self._terminals = Terminals(definitions)
        self._rules: list[str] = []
        self._made: dict[Language, str] = {}

    def written(self) -> str:
        lines = [self._statement(kind, name, body) for kind, name, body in self._statements]
        return "\n".join([*lines, *self._rules]) + "\n"

    def _statement(self, kind: str, name: str, body: list[Token]) -> str:
        text = "".join(token.text for token in body)
        if kind == "rule":
            return f"{name}: {self._body(body)}"
        if kind == "ignore":
            return self._ignore(self._terminals.read(body))
        if kind == "terminal":
            return f"{name}: {text}" if _is_plain(self._terminals.language(name)) else ""
        return text

    def _body(self, body: list[Token]) -> str:
        """A rule's expression; `[lazy]` and its like stand in its name."""
        written: list[str] = []
        for token in body:
            if token.kind == "foreign":
                raise ValueError(f"{token.text!r} cannot stand inside of a text")
            if token.kind in ("terminal", "string", "range", "regex"):
                language = self._terminals.read([token])
                written.append(token.text if _is_plain(language) else self._rule(language))
            elif token.kind != "space":
                written.append(token.text)
        return " ".join(written)

    def _ignore(self, language: Language) -> str:
        """What may stand between any two terminals may stand there again: one character of it at a time."""
        states, edges = automaton(language, _MOST_STATES)
        single = chars(pair for state in states for ranges in edges[state].values() for pair in ranges)
        if all(_differ(language, one) for one in (single, repeated(single, 0, None), repeated(single, 1, None))):
            raise ValueError("'%ignore' is understood for any number of single characters only, like white space")
        return f"%ignore /{_character(single)}/"

    def _rule(self, language: Language) -> str:
        """The name of a rule of the texts of `language`, escaped."""
        if language not in self._made:
            self._made[language] = f"{_PREFIX}{len(self._made)}"
            self._rules += list(_segmented(self._made[language], language))
        return self._made[language]


def _statements(grammar: str) -> Iterator[tuple[str, str, list[Token]]]:
    """Kind, name and body of each statement: "rule", "terminal", "ignore", or "other", which stays as it is."""
    lines: list[list[Token]] = [[]]
    depth = 0
    for token in tokens(grammar):
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if token.kind == "newline" and depth <= 0:
            lines.append([])
        elif token.kind != "newline" and not (token.kind == "space" and not token.text.isspace()):
            lines[-1].append(token)
    statements: list[list[Token]] = []
    for line in lines:
        solid = [token for token in line if token.kind != "space"]
        if solid and solid[0].text == "|" and statements:
            statements[-1] += line
        elif solid:
            statements.append(solid)
    for statement in statements:
        yield from _statement_of(statement)


def _statement_of(statement: list[Token]) -> Iterator[tuple[str, str, list[Token]]]:
    first = statement[0]
    if first.text == "%import":
        yield from _imported(statement)
    elif first.text == "%ignore":
        yield "ignore", "", statement[1:]
    elif first.text == "%llguidance":
        yield "other", "", statement
    elif first.kind in ("name", "terminal"):
        colon = next((at for at, token in enumerate(statement) if token.text == ":"), None)
        if colon is None or first.text.startswith(_PREFIX):
            raise ValueError(f"what begins with {first.text!r} is no definition")
        if colon > 1:
            raise ValueError(f"what stands behind the name of {first.text!r} is not understood inside of a text")
        yield ("terminal" if first.kind == "terminal" else "rule"), first.text, statement[colon + 1 :]
    else:
        raise ValueError(f"{first.text!r} is not understood inside of a text")


def _imported(statement: list[Token]) -> Iterator[tuple[str, str, list[Token]]]:
    """`%import common.NAME`, `%import common.NAME -> OTHER` and `%import common (NAME, NAME)` as definitions."""
    names = [token.text for token in statement if token.kind == "terminal"]
    arrow = any(token.text == "->" for token in statement)
    if "common" not in (token.text for token in statement) or not names:
        raise ValueError("only what is 'common' can be imported")
    for name in names[:1] if arrow else names:
        if name not in COMMON:
            raise ValueError(f"'common' has no {name!r}")
        body = COMMON[name].replace("/", r"\/")
        yield "terminal", names[1] if arrow and len(names) > 1 else name, [Token("regex", f"/{body}/")]


def _is_plain(language: Language) -> bool:
    """Whether none of its texts has anything to escape."""
    _, edges = automaton(language, _MOST_STATES)
    return not any(_special(ranges) for targets in edges.values() for ranges in targets.values())


def _segmented(name: str, language: Language) -> Iterator[str]:
    """Rules of `language`, the first one called `name`. `name`-n is what leads to the nth state behind an escape."""
    states, edges = automaton(language, _MOST_STATES)
    plain = {
        state: {to: left for to, ranges in edges[state].items() if (left := _unescaped(ranges))} for state in states
    }
    escapes = [
        (state, to, found) for state in states for to, ranges in edges[state].items() if (found := _special(ranges))
    ]
    stops = dict.fromkeys([states[0], *(to for _, to, _ in escapes)])
    numbers = {state: number for number, state in enumerate(stops)}
    over = [state for state in states if ends(state)]
    ways: dict[Language, list[str]] = {state: [] for state in stops}
    ways[states[0]].append('""')
    whole: list[str] = []
    for stop, number in numbers.items():
        reached = f"{name}-{number}"
        stretches = between(plain, stop, [*over, *(state for state, _, _ in escapes)])
        before = {state: [f"{reached} /{found}/"] for state, found in stretches.items()}
        before.setdefault(stop, []).append(reached)
        whole += [way for state in over for way in before.get(state, ())]
        for state, to, found in escapes:
            ways[to] += [f"{way} /{_escapes(found)}/" for way in before.get(state, ())]
    yield f"{name}: {' | '.join(whole)}"
    for state, number in numbers.items():
        yield f"{name}-{number}: {' | '.join(ways[state])}"


def _differ(first: Language, second: Language) -> bool:
    return not (is_empty(both(first, complement(second))) and is_empty(both(second, complement(first))))


def _special(ranges: Ranges) -> list[str]:
    """Those of the characters that have to be escaped."""
    return [chr(code) for low, high in ranges for code in (*range(32), 34, 92) if low <= code <= high]


def _unescaped(ranges: Ranges) -> Ranges:
    """Those that have not."""
    return others([*others(ranges), *_SPECIAL[1]])


def _character(one: Language) -> str:
    """An expression of one character out of `one`, escaped where it has to be."""
    special = _special(one[1])
    left = to_class(_unescaped(one[1]))
    return "|".join(part for part in (left, _escapes(special) if special else "") if part)


def _escapes(characters: list[str]) -> str:
    found = [json.dumps(character)[1:-1].replace("\\", "\\\\") for character in dict.fromkeys(characters)]
    return f"(?:{'|'.join(found)})"
