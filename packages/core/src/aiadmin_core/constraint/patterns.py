"""Regular expressions as JSON schemas have them, without what llguidance lacks: look-ahead. Pure; used by `schema`.

JavaScript and Python read them alike as far as they go here: search anywhere, `^` and `$` are the ends of the text.
"""

import re
from collections.abc import Sequence
from re import _constants as sre  # type: ignore[attr-defined]  # the standard library has a parser, but no name for it
from re import _parser  # type: ignore[attr-defined]  # the same
from typing import Any

from .languages import (
    ANY_TEXT,
    EMPTY,
    NOTHING,
    TOP,
    Language,
    both,
    chars,
    complement,
    either,
    others,
    repeated,
    sequence,
    text,
    to_regex,
)

_LOOKS = re.compile(r"\(\?(?:=|!|<=|<!)")
_TOKENS = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_"}
_ANYBODYS = {"d": r"\p{Nd}", "w": r"\p{L}\p{N}\p{M}\p{Pc}"}
"""The same with all that Unicode has of them."""
_SEPARATORS = r"\x1c-\x1f"
"""White space for Python, but not for JavaScript and llguidance."""
_DIGIT = ((48, 57),)
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_NO_SPACE = (0x1C, 0x1F)
"""For Python it is."""
_SPACE = (
    *((9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)


def without_look_around(pattern: str) -> list[str]:
    """Expressions that a text matches all of where it matches `pattern`.

    Raises `ValueError` where it cannot be said without looking around.
    """
    if not _LOOKS.search(pattern):
        return [with_ascii_classes(pattern)]
    looks, rest = _leading_looks(pattern)
    expressions: list[str] = []
    for positive, body in looks:
        if positive and not _LOOKS.search(body):
            expressions.append(with_ascii_classes(f"^(?:{body})"))
        else:
            language = language_of(f"^(?:{body})")
            expressions.append(_written(language if positive else complement(language)))
    if rest != "^":
        expressions.append(_written(language_of(rest)) if _LOOKS.search(rest) else with_ascii_classes(rest))
    return expressions


def with_ascii_classes(pattern: str) -> str:
    """`pattern` with `\\d` and `\\w` spelled out: the digits and letters of ASCII, as JavaScript, JSON schemas and most
    of those who write an expression have it. llguidance takes them for all of Unicode's, and a model then writes dates
    in digits that nobody reads. What is *not* a digit, letter or space is none for anybody: those who validate do not
    agree."""
    written, inside, negated = [], False, False
    for token in _TOKENS.findall(pattern):
        if token in (r"\d", r"\w"):
            members = (_ANYBODYS if negated else _CLASSES)[token[1]]
            token = members if inside else f"[{members}]"
        elif token in (r"\D", r"\W"):
            token = f"[^{(_CLASSES if negated else _ANYBODYS)[token[1].lower()]}]"
        elif token == r"\s" and negated:  # noqa: S105 - of an expression
            token = rf"\s{_SEPARATORS}"
        elif token == r"\S" and not inside:  # noqa: S105 - of an expression
            token = rf"[^\s{_SEPARATORS}]"
        elif token[0] == "[":
            inside, negated = True, token.startswith("[^")
        elif token == "]":  # noqa: S105 - of an expression
            inside = negated = False
        written.append(token)
    return "".join(written)


def language_of(pattern: str) -> Language:
    """The texts in which `pattern` is found. Raises `ValueError` where it is more than regular, or not understood."""
    items = _parsed(pattern)
    anywhere = sequence(chars([(0, TOP)]), ANY_TEXT, _language(items, ANY_TEXT, at_start=False))
    return either(_language(items, ANY_TEXT, at_start=True), anywhere)


def language_of_whole(pattern: str) -> Language:
    """The texts that `pattern` matches from first to last character. Raises `ValueError` as `language_of` does."""
    return _language(_parsed(pattern), EMPTY, at_start=True)


def _parsed(pattern: str) -> list[Any]:
    try:
        parsed = _parser.parse(re.sub(r"\(\?<([A-Za-z_]\w*)>", "(?:", pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"it is not understood: {error}") from error
    if parsed.state.flags & ~re.UNICODE.value:
        raise ValueError("flags inside of it are not understood")
    return list(parsed)


def _written(language: Language) -> str:
    expression = to_regex(language)
    if expression is None:
        raise ValueError("nothing matches it")
    return expression


def _leading_looks(pattern: str) -> tuple[list[tuple[bool, str]], str]:
    """The look-aheads at the beginning of an anchored pattern, and the pattern without them."""
    looks: list[tuple[bool, str]] = []
    rest = pattern.removeprefix("^")
    if rest == pattern:
        return [], pattern
    while rest.startswith(("(?=", "(?!")):
        end = _closing(rest)
        looks.append((rest[2] == "=", rest[3:end]))
        rest = rest[end + 1 :]
    return ([], pattern) if _has_alternatives(rest) else (looks, f"^{rest}")


def _closing(pattern: str) -> int:
    """Where the group that begins `pattern` is closed."""
    return next((end for end, depth, _ in _walk(pattern) if depth == 0), len(pattern))


def _has_alternatives(pattern: str) -> bool:
    return any(depth == 0 and character == "|" for _, depth, character in _walk(pattern))


def _walk(pattern: str) -> list[tuple[int, int, str]]:
    """Each character outside of classes and escapes, and how many groups are open behind it."""
    found: list[tuple[int, int, str]] = []
    depth, in_class, position = 0, False, 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        else:
            depth += (character == "(") - (character == ")")
            found.append((position, depth, character))
        position += 1
    return found


def _language(items: Sequence[Any], then: Language, *, at_start: bool) -> Language:
    """`items`, and what comes `then`, up to the end of the text."""
    if not items:
        return then
    (kind, value), rest = items[0], items[1:]
    if kind is sre.AT:
        if value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
            return _language(rest, then, at_start=True) if at_start else NOTHING
        if value in (sre.AT_END, sre.AT_END_STRING):
            return both(EMPTY, _language(rest, then, at_start=at_start))
        raise ValueError("word boundaries beside look-around are not understood")
    if kind in (sre.ASSERT, sre.ASSERT_NOT):
        direction, inner = value
        if direction < 0:
            raise ValueError("look-behind is not understood")
        ahead = _language(list(inner), ANY_TEXT, at_start=at_start)
        ahead = complement(ahead) if kind is sre.ASSERT_NOT else ahead
        return both(ahead, _language(rest, then, at_start=at_start))
    if kind is sre.SUBPATTERN:
        if value[1] or value[2]:
            raise ValueError("flags inside of it are not understood")
        return _language([*value[3], *rest], then, at_start=at_start)
    if kind is sre.BRANCH:
        return either(*(_language([*branch, *rest], then, at_start=at_start) for branch in value[1]))
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return _repeat(value, rest, then, at_start)
    return sequence(_one(kind, value), _language(rest, then, at_start=False))


def _repeat(value: Any, rest: Sequence[Any], then: Language, at_start: bool) -> Language:
    least, most, inner = value
    most = None if most is sre.MAXREPEAT else int(most)
    if not _looks(inner):
        part = _language(list(inner), EMPTY, at_start=False)
        after = _language(rest, then, at_start=at_start and least == 0)
        return sequence(repeated(part, least, most), after)
    if most is None or most > _MOST_UNROLLED:
        raise ValueError("look-around that is repeated is not understood")
    counts = range(least, most + 1)
    return either(*(_language([*list(inner) * n, *rest], then, at_start=at_start) for n in counts))


def _looks(items: Any) -> bool:
    for kind, value in items:
        if kind in (sre.ASSERT, sre.ASSERT_NOT, sre.AT):
            return True
        nested: list[Any] = []
        if kind is sre.SUBPATTERN:
            nested = [value[3]]
        elif kind is sre.BRANCH:
            nested = value[1]
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            nested = [value[2]]
        if any(map(_looks, nested)):
            return True
    return False


def _one(kind: Any, value: Any) -> Language:
    """One character."""
    if kind is sre.LITERAL:
        return text(chr(value))
    if kind is sre.NOT_LITERAL:
        return chars(others([(value, value)]))
    if kind is sre.ANY:
        return chars(others([(10, 10), (13, 13), (0x2028, 0x2029)]))
    if kind is sre.IN:
        negated = value[0][0] is sre.NEGATE
        ranges = [pair for part in value[negated:] for pair in _ranges(*part)]
        if negated and (sre.CATEGORY, sre.CATEGORY_SPACE) in value:
            ranges.append(_NO_SPACE)
        return chars(others(ranges) if negated else ranges)
    raise ValueError(f"{str(kind).lower()} beside look-around is not understood")


def _ranges(kind: Any, value: Any) -> Sequence[tuple[int, int]]:
    if kind is sre.LITERAL:
        return [(value, value)]
    if kind is sre.RANGE:
        return [value]
    known: dict[Any, Sequence[tuple[int, int]]] = {
        sre.CATEGORY_DIGIT: _DIGIT,
        sre.CATEGORY_NOT_DIGIT: others(_DIGIT),
        sre.CATEGORY_SPACE: _SPACE,
        sre.CATEGORY_NOT_SPACE: others((*_SPACE, _NO_SPACE)),
        sre.CATEGORY_WORD: _WORD,
        sre.CATEGORY_NOT_WORD: others(_WORD),
    }
    return known[value]


_MOST_UNROLLED = 4
