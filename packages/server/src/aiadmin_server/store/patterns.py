"""Names of aliases: a model's name, or a pattern of names, in which `*` stands for anything (`gpt-*`). Pure."""

from collections.abc import Iterable

from aiadmin_core.errors import InvalidName

from .names import parse_name, same_name

ANYTHING = "*"


def is_pattern(name: str) -> bool:
    """Whether `name` stands for many names."""
    return ANYTHING in name


def check_alias_name(name: str) -> None:
    """Raises `InvalidName` for what can be neither a model's name nor a pattern of some."""
    try:
        parse_name(name.replace(ANYTHING, "x"))
    except InvalidName as error:
        if not is_pattern(name):
            raise
        raise InvalidName(
            f"'{name}' is no pattern of model names.",
            hint="A pattern is a model's name in which '*' stands for any characters: `gpt-*`.",
            param="model",
        ) from error


def same_alias(first: str, second: str) -> bool:
    """Whether two texts are the name of the same alias: `gpt-4` and `GPT-4:latest`, `gpt-*` and `GPT-*`."""
    return first.lower() == second.lower() or same_name(first, second)


def best_pattern(patterns: Iterable[str], name: str) -> str | None:
    """The pattern that `name` goes by: the one with the longest text before its first `*`, of two such the one with
    more text in all. Case does not count. A name with control characters goes by none: it is shown and logged."""
    if not name.isprintable():
        return None
    fitting = [pattern for pattern in patterns if is_pattern(pattern) and _fits(pattern, name)]
    return min(fitting, key=_order, default=None)


def _fits(pattern: str, name: str) -> bool:
    first, *between, last = pattern.lower().split(ANYTHING)
    text = name.lower()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    rest = text[len(first) : len(text) - len(last)]
    for part in between:
        _, found, rest = rest.partition(part) if part else ("", "*", rest)
        if not found:
            return False
    return True


def _order(pattern: str) -> tuple[int, int, str]:
    return -pattern.index(ANYTHING), -len(pattern.replace(ANYTHING, "")), pattern
