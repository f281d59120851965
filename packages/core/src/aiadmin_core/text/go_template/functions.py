"""What a Go template may call: the functions of text/template, and those that Ollama's templates have besides. Pure,
but for the date. Each raises `ValueError` or `TypeError` with a reason; `evaluate` adds where."""

import html
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

from .values import Record, Types, is_true, to_json, written

_MAX_WIDTH = 1000
_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\*|\d*)(?:\.(?P<precision>\d*))?(?P<verb>.|$)", re.DOTALL)


def _equal(first: Any, *others: Any) -> bool:
    """Whether `first` equals one of `others`."""
    if not others:
        raise ValueError("eq needs two operands")
    return any(_same(first, other) for other in others)


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    if _kind(first) != _kind(second):
        raise TypeError(f"{_kind(first)} and {_kind(second)} cannot be compared")
    return bool(first == second)


def _less(first: Any, second: Any) -> bool:
    kind = _kind(first)
    if kind != _kind(second) or kind not in ("a number", "a string"):
        raise TypeError(f"{kind} and {_kind(second)} have no order")
    return bool(first < second)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case None:
            return "nothing"
        case dict():
            return "a map"
        case list() | tuple():
            return "a list"
    return "a record"


def _length(value: Any) -> int:
    """Of a string, its bytes."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if not isinstance(value, list | tuple | dict):
        raise TypeError(f"{_kind(value)} has no length")
    return len(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, str | list | tuple):
            found = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            value = found[_place(key, len(found) - 1)]
        else:
            raise TypeError(f"{_kind(value)} cannot be indexed")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise TypeError(f"{_kind(value)} cannot be sliced")
    found = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if len(bounds) > 3:
        raise ValueError("slice has too many bounds")
    start = _place(bounds[0], len(found)) if bounds else 0
    end = _place(bounds[1], len(found)) if len(bounds) > 1 else len(found)
    if start > end:
        raise ValueError(f"a slice from {start} to {end} is none")
    cut = found[start:end]
    return cut.decode("utf-8", "replace") if isinstance(cut, bytes) else cut


def _place(key: Any, last: int) -> int:
    if isinstance(key, bool) or not isinstance(key, int):
        raise TypeError(f"{_kind(key)} is no index")
    if not 0 <= key <= last:
        raise ValueError(f"the index {key} is out of range")
    return key


def _print(*values: Any) -> str:
    """With a space between two of which neither is a string."""
    text = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            text += " "
        text += written(value)
    return text


def _println(*values: Any) -> str:
    return " ".join(map(written, values)) + "\n"


def _printf(form: Any, *values: Any) -> str:
    if not isinstance(form, str):
        raise TypeError("the format of printf must be a string")
    left = list(values)

    def verb(match: re.Match[str]) -> str:
        if match["verb"] == "%":
            return "%"
        width, flags = match["width"], match["flags"]
        if width == "*":  # the next value says it
            width = _width(left.pop(0)) if left else 0
            width, flags = abs(width), flags + ("-" if width < 0 else "")
        width, precision = int(width or 0), match["precision"]
        if not left:
            raise ValueError(f"printf has no value for {match[0]}")
        if width > _MAX_WIDTH or int(precision or 0) > _MAX_WIDTH:
            raise ValueError(f"{match[0]} is too wide")
        text = _formatted(match["verb"], left.pop(0), None if precision is None else int(precision or 0), match[0])
        if "+" in flags and match["verb"] in "dfeg" and not text.startswith("-"):
            text = "+" + text
        if "-" in flags:
            return text.ljust(width)
        return text.zfill(width) if "0" in flags and match["verb"] in "dfegx" else text.rjust(width)

    text = _VERB.sub(verb, form)
    if left:
        raise ValueError(f"printf has {len(left)} values too many")
    return text


def _width(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{_kind(value)} is no width")
    return value


def _formatted(verb: str, value: Any, precision: int | None, whole: str) -> str:
    kind = _kind(value)
    match verb:
        case "v":
            return written(value)
        case "s" if kind != "a number" and kind != "a boolean":
            return written(value) if precision is None else written(value)[:precision]
        case "q" if kind == "a string":
            return json.dumps(value, ensure_ascii=False)
        case "d" if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        case "x" | "X" if isinstance(value, int) and not isinstance(value, bool):
            return format(value, verb)
        case "c" if isinstance(value, int) and 0 <= value <= 0x10FFFF:
            return chr(value)
        case "f" | "e" | "g" if kind == "a number":
            default = {"f": 6, "e": 6}.get(verb)
            if precision is None and default is None:
                return written(float(value))
            return f"{float(value):.{default if precision is None else precision}{verb}}"
        case "t" if kind == "a boolean":
            return written(value)
        case "T":
            return kind
    raise ValueError(f"printf cannot write {kind} as {whole}")


def type_script(value: Any) -> str:
    """The type of a parameter as TypeScript writes it; `any` for what is no schema."""
    schema = value.fields if isinstance(value, Record) else value
    if not isinstance(schema, Mapping):
        return "any"
    if choices := schema.get("AnyOf"):
        return " | ".join(map(type_script, choices))
    types = schema.get("Type") or ()
    return " | ".join(_TYPE_SCRIPT.get(one, "any") for one in types) if isinstance(types, Types) and types else "any"


_TYPE_SCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def _js(*values: Any) -> str:
    text = json.dumps(_print(*values), ensure_ascii=False)[1:-1]
    return "".join(f"\\u{ord(one):04X}" if one in "<>&='" else one for one in text)


def _day(n_ago: int) -> str:
    return (datetime.now().astimezone() - timedelta(days=n_ago)).date().isoformat()


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "not": lambda value: not is_true(value),
    "eq": _equal,
    "ne": lambda first, second: not _same(first, second),
    "lt": _less,
    "le": lambda first, second: not _less(second, first),
    "gt": lambda first, second: _less(second, first),
    "ge": lambda first, second: not _less(first, second),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": _println,
    "printf": _printf,
    "html": lambda *values: html.escape(_print(*values)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "js": _js,
    "urlquery": lambda *values: quote_plus(_print(*values)),
    "json": to_json,
    "toJson": to_json,
    "currentDate": lambda *_: _day(0),
    "yesterdayDate": lambda *_: _day(1),
    "toTypeScriptType": type_script,
}
LAZY = frozenset({"and", "or"})
"""Evaluated until the outcome is known."""
NAMES = frozenset({*FUNCTIONS, *LAZY})
