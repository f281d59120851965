"""Regular languages with intersection and complement: what regular expressions with look-ahead, names that have to
match two patterns, and `not` come down to. Pure; used by `patterns` and `schema`.

A language is a nested tuple, its automaton found by Brzozowski's derivatives ("Derivatives of Regular Expressions",
1964), and written as a plain regular expression again by state elimination.
"""

import itertools
from collections import deque
from collections.abc import Iterable
from typing import Any

Language = tuple[Any, ...]
Ranges = tuple[tuple[int, int], ...]
Edges = dict[Language, dict[Language, Ranges]]
"""Of an automaton, whose states are languages: what leads from one to another."""
Arrow = tuple[Language, Language]

NOTHING: Language = ("chars", ())
EMPTY: Language = ("empty",)
ANY_TEXT: Language = ("not", NOTHING)
TOP = 0x10FFFF


class TooLarge(ValueError):
    """The automaton has more states than is good for anybody."""


def chars(ranges: Iterable[tuple[int, int]]) -> Language:
    """One character out of `ranges`, which include their ends."""
    return ("chars", _merged(ranges))


def others(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All characters but those in `ranges`."""
    found: list[tuple[int, int]] = []
    start = 0
    for low, high in _merged(ranges):
        if start < low:
            found.append((start, low - 1))
        start = high + 1
    return (*found, (start, TOP)) if start <= TOP else tuple(found)


def text(literal: str) -> Language:
    """Exactly `literal`."""
    return sequence(*(chars([(ord(c), ord(c))]) for c in literal))


def sequence(*parts: Language) -> Language:
    """One after the other."""
    whole = EMPTY
    for part in reversed(parts):
        whole = _joined(part, whole)
    return whole


def _joined(first: Language, rest: Language) -> Language:
    """`first` before `rest`, which is in its form already: sequences lean to the right."""
    if NOTHING in (first, rest):
        return NOTHING
    if EMPTY in (first, rest):
        return rest if first == EMPTY else first
    if first[0] == "sequence":
        return _joined(first[1], _joined(first[2], rest))
    return ("sequence", first, rest)


def either(*parts: Language) -> Language:
    """One or another."""
    members = {member for part in parts for member in (part[1] if part[0] == "either" else (part,))}
    members.discard(NOTHING)
    if ANY_TEXT in members:
        return ANY_TEXT
    if len(members) < 2:
        return next(iter(members), NOTHING)
    return ("either", frozenset(members))


def both(*parts: Language) -> Language:
    """What is in all of them."""
    members = {member for part in parts for member in (part[1] if part[0] == "both" else (part,))}
    members.discard(ANY_TEXT)
    if NOTHING in members:
        return NOTHING
    if len(members) < 2:
        return next(iter(members), ANY_TEXT)
    return ("both", frozenset(members))


def complement(part: Language) -> Language:
    """Every text that is not in it."""
    return part[1] if part[0] == "not" else ("not", part)


def repeated(part: Language, least: int, most: int | None) -> Language:
    """`part` from `least` to `most` times, any number of times where that is None. Raises `TooLarge`."""
    if max(least, most or 0) > _MOST_REPEATED:
        raise TooLarge(f"more than {_MOST_REPEATED} repetitions")
    head = sequence(*[part] * least)
    if most is None:
        return sequence(head, part if part[0] == "star" else ("star", part))
    tail = EMPTY
    for _ in range(most - least):
        tail = either(EMPTY, sequence(part, tail))
    return sequence(head, tail)


def matches(language: Language, literal: str) -> bool:
    """Whether `literal` is in it."""
    for character in literal:
        language = _derivative(language, ord(character), {})
    return ends(language)


def is_empty(language: Language, limit: int = 2000) -> bool:
    """Whether nothing is in it. Raises `TooLarge`."""
    states, _ = automaton(language, limit)
    return not any(map(ends, states))


def to_regex(language: Language, limit: int = 200) -> str | None:
    """An anchored regular expression without look-around; None for the language nothing is in. Raises `TooLarge`."""
    states, edges = automaton(language, limit)
    arrows = {(_START, language): ""} | {(state, _END): "" for state in states if ends(state)}
    found = _eliminated(arrows | _arrows(edges), states).get((_START, _END))
    return None if found is None else f"^(?:{found})$"


def between(edges: Edges, state: Language, targets: Iterable[Language]) -> dict[Language, str]:
    """Regular expressions, not anchored, of the texts of one character or more that lead from `state` to each of
    `targets` on `edges`. Raises `TooLarge`."""
    arrows: dict[Arrow, str] = {(_START, to): to_class(ranges) for to, ranges in edges.get(state, {}).items()}
    arrows |= {(target, ("end", target)): "" for target in targets}
    found = _eliminated(arrows | _arrows(edges), {*edges, *(to for step in edges.values() for to in step), *targets})
    return {end[1]: expression for (_, end), expression in found.items()}


def _arrows(edges: Edges) -> dict[Arrow, str]:
    return {(state, to): to_class(ranges) for state, targets in edges.items() for to, ranges in targets.items()}


def _eliminated(arrows: dict[Arrow, str], states: Iterable[Language]) -> dict[Arrow, str]:
    """The arrows between what is left without `states`."""
    left = dict.fromkeys(states)
    while left:
        node = min(left, key=lambda one: _cost(arrows, one))
        del left[node]
        loop = arrows.pop((node, node), None)
        into = [(pair, arrow) for pair, arrow in arrows.items() if pair[1] == node]
        out = [(pair, arrow) for pair, arrow in arrows.items() if pair[0] == node]
        for pair, _ in (*into, *out):
            del arrows[pair]
        middle = f"(?:{loop})*" if loop else ""
        for ((source, _), before), ((_, to), after) in itertools.product(into, out):
            path = f"{_grouped(before)}{middle}{_grouped(after)}"
            known = arrows.get((source, to))
            arrows[source, to] = path if known is None else f"{known}|{path}"
        if sum(map(len, arrows.values())) > _LONGEST:
            raise TooLarge("the expression would be too long")
    return arrows


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def ends(language: Language) -> bool:
    """Whether the empty text is in it."""
    match language:
        case ("empty",) | ("star", _):
            return True
        case ("sequence", first, rest):
            return ends(first) and ends(rest)
        case ("either", members):
            return any(map(ends, members))
        case ("both", members):
            return all(map(ends, members))
        case ("not", inner):
            return not ends(inner)
        case _:
            return False


def _derivative(language: Language, code: int, known: dict[Language, Language]) -> Language:
    """What may follow the character `code`."""
    found = known.get(language)
    if found is None:
        found = known[language] = _derived(language, code, known)
    return found


def _derived(language: Language, code: int, known: dict[Language, Language]) -> Language:
    match language:
        case ("chars", ranges):
            return EMPTY if any(low <= code <= high for low, high in ranges) else NOTHING
        case ("sequence", first, rest):
            through = sequence(_derivative(first, code, known), rest)
            return either(through, _derivative(rest, code, known)) if ends(first) else through
        case ("star", inner):
            return sequence(_derivative(inner, code, known), language)
        case ("either", members):
            return either(*(_derivative(member, code, known) for member in members))
        case ("both", members):
            return both(*(_derivative(member, code, known) for member in members))
        case ("not", inner):
            return complement(_derivative(inner, code, known))
        case _:
            return NOTHING


def automaton(language: Language, limit: int) -> tuple[list[Language], Edges]:
    """The states that matter, first the start, and the characters that lead from one to another."""
    classes = _classes(language)
    states, waiting = [language], deque([language])
    seen = {language}
    edges: Edges = {}
    work = 0
    while waiting:
        state = waiting.popleft()
        targets: dict[Language, list[tuple[int, int]]] = {}
        for low, high in classes:
            known: dict[Language, Language] = {}
            target = _derivative(state, low, known)
            work += len(known)
            if work > _MOST_WORK:
                raise TooLarge("it takes too long to follow")
            if target == NOTHING:
                continue
            targets.setdefault(target, []).append((low, high))
            if target not in seen:
                if len(states) >= limit:
                    raise TooLarge(f"more than {limit} states")
                seen.add(target)
                states.append(target)
                waiting.append(target)
        edges[state] = {target: _merged(ranges) for target, ranges in targets.items()}
    return states, edges


def _classes(language: Language) -> list[tuple[int, int]]:
    """Stretches of characters that no part of it tells apart."""
    cuts = {0, TOP + 1}
    waiting = [language]
    while waiting:
        part = waiting.pop()
        if part[0] == "chars":
            cuts |= {cut for low, high in part[1] for cut in (low, high + 1)}
        elif part[0] in ("either", "both"):
            waiting.extend(part[1])
        else:
            waiting.extend(part[1:])
    return [(low, high - 1) for low, high in itertools.pairwise(sorted(cuts))]


def _cost(arrows: dict[Arrow, str], state: Language) -> int:
    into = sum(pair[1] == state for pair in arrows)
    return into * sum(pair[0] == state for pair in arrows)


def _grouped(expression: str) -> str:
    return f"(?:{expression})" if "|" in expression else expression


def to_class(ranges: Ranges) -> str:
    """A regular expression of one character; "" of none."""
    if not ranges:
        return ""
    if ranges == ((0, TOP),):
        return r"[\s\S]"
    return "[" + "".join(_code(low) + (f"-{_code(high)}" if high > low else "") for low, high in ranges) + "]"


def _code(code: int) -> str:
    character = chr(code)
    return character if character.isascii() and character.isalnum() else rf"\x{{{code:x}}}"


_START: Language = ("start",)
_END: Language = ("end",)
_LONGEST = 20_000
"""Characters of a regular expression that has been made."""
_MOST_REPEATED = 300
_MOST_WORK = 100_000
"""Derivatives of parts, a few microseconds each."""
