"""Regular expressions as JSON schemas have them, without what llguidance lacks: look-ahead and word boundaries. Pure;
used by `schema`.

JavaScript and Python read them alike as far as they go here: search anywhere, `^` and `$` are the ends of the text.
"""

import re
from collections.abc import Callable, Sequence
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
    ends,
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
_ASCII = ((0, 0x7F),)
_SIDES = {
    "word": chars(_WORD),
    "other": chars(others((*_WORD, *others(_ASCII)))),
    "beyond": chars(others(_ASCII)),
}
"""What a character means to a word boundary. Beyond ASCII, JavaScript and Python do not agree on what a word is: such a
character never stands beside a boundary."""


def without_look_around(pattern: str) -> list[str]:
    """Expressions that a text matches all of where it matches `pattern`.

    Raises `ValueError` where it cannot be said without looking around.
    """
    if not _LOOKS.search(pattern):
        return [_plain(pattern)]
    looks, rest = _leading_looks(pattern)
    expressions: list[str] = []
    for positive, body in looks:
        if positive:
            expressions.append(_plain(f"^(?:{body})"))
        elif _has_boundary(body):
            raise ValueError(_NO_BOUNDARY)
        else:
            expressions.append(_written(complement(language_of(f"^(?:{body})"))))
    if rest != "^":
        expressions.append(_plain(rest))
    return expressions


def _plain(pattern: str) -> str:
    """`pattern` in one expression that does not look around."""
    if _LOOKS.search(pattern) or _has_boundary(pattern):
        return _written(language_of(pattern))
    return with_ascii_classes(pattern)


def _has_boundary(pattern: str) -> bool:
    r"""Whether `\b` or `\B` stands in it; in a class, `\b` is a character, which is understood as well."""
    return any(token in (r"\b", r"\B") for token in _TOKENS.findall(pattern))


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

    def found(before: str) -> Language:
        return _language(items, ANY_TEXT, before=before)

    anywhere = _followed(sequence(chars([(0, TOP)]), ANY_TEXT), "", found, sided=_bounds(items))
    return either(found("start"), anywhere)


def language_of_whole(pattern: str) -> Language:
    """The texts that `pattern` matches from first to last character. Raises `ValueError` as `language_of` does."""
    return _language(_parsed(pattern), EMPTY, before="start")


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


def _language(items: Sequence[Any], then: Language, *, before: str) -> Language:
    """`items`, and what comes `then`, up to the end of the text. `before` them is its "start", or a character of one of
    `_SIDES`, or "" where it does not matter."""
    if not items:
        return then
    (kind, value), rest = items[0], items[1:]
    if kind is sre.AT:
        return _anchored(value, before, _language(rest, then, before=before))
    if kind in (sre.ASSERT, sre.ASSERT_NOT):
        direction, inner = value
        if direction < 0:
            raise ValueError("look-behind is not understood")
        if kind is sre.ASSERT_NOT and _bounds(inner):
            raise ValueError(_NO_BOUNDARY)
        ahead = _language(list(inner), ANY_TEXT, before=before)
        ahead = complement(ahead) if kind is sre.ASSERT_NOT else ahead
        return both(ahead, _language(rest, then, before=before))
    if kind is sre.SUBPATTERN:
        if value[1] or value[2]:
            raise ValueError("flags inside of it are not understood")
        return _language([*value[3], *rest], then, before=before)
    if kind is sre.BRANCH:
        return either(*(_language([*branch, *rest], then, before=before) for branch in value[1]))
    if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        return _repeat(value, rest, then, before)
    return _followed(_one(kind, value), before, lambda side: _language(rest, then, before=side), sided=_bounds(rest))


def _anchored(kind: Any, before: str, rest: Language) -> Language:
    """`rest` where it stands as an anchor of `kind` says."""
    if kind in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
        return rest if before == "start" else NOTHING
    if kind in (sre.AT_END, sre.AT_END_STRING):
        return both(EMPTY, rest)
    if before == "beyond":
        return NOTHING
    word, other = (sequence(_SIDES[side], ANY_TEXT) for side in ("word", "other"))
    if (before == "word") == (kind is sre.AT_NON_BOUNDARY):
        return both(word, rest)
    empty = NOTHING if before == "start" else EMPTY  # in an empty text, engines do not agree on `\\B`
    return both(either(empty, other), rest)


def _followed(part: Language, before: str, rest: Callable[[str], Language], *, sided: bool) -> Language:
    """`part` and the `rest`; where this is `sided`, it depends on the last character in front of it."""
    if not sided:
        return sequence(part, rest(""))
    found = [sequence(both(part, sequence(ANY_TEXT, last)), rest(side)) for side, last in _SIDES.items()]
    return either(*found, *([rest(before)] if ends(part) else []))


def _repeat(value: Any, rest: Sequence[Any], then: Language, before: str) -> Language:
    least, most, inner = value
    most = None if most is sre.MAXREPEAT else int(most)
    if not _looks(inner):
        part = repeated(_language(list(inner), EMPTY, before=""), least, most)
        if _bounds(rest):
            return _followed(part, before, lambda side: _language(rest, then, before=side), sided=True)
        return sequence(part, _language(rest, then, before="start" if before == "start" and least == 0 else ""))
    if most is None or most > _MOST_UNROLLED:
        raise ValueError("look-around that is repeated is not understood")
    counts = range(least, most + 1)
    return either(*(_language([*list(inner) * n, *rest], then, before=before) for n in counts))


def _bounds(items: Any) -> bool:
    """Whether there are word boundaries in `items`."""
    return _any(items, lambda kind, value: kind is sre.AT and value in (sre.AT_BOUNDARY, sre.AT_NON_BOUNDARY))


def _looks(items: Any) -> bool:
    """Whether they depend on what stands around them."""
    return _any(items, lambda kind, _: kind in (sre.ASSERT, sre.ASSERT_NOT, sre.AT))


def _any(items: Any, asked: Callable[[Any, Any], bool]) -> bool:
    """Whether `asked` of one of `items`, or of what is inside of them."""
    for kind, value in items:
        if asked(kind, value):
            return True
        nested: list[Any] = []
        if kind is sre.SUBPATTERN:
            nested = [value[3]]
        elif kind is sre.BRANCH:
            nested = value[1]
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            nested = [value[2]]
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            nested = [value[1]]
        if any(_any(one, asked) for one in nested):
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
_NO_BOUNDARY = "a word boundary that must not be there is not understood"
