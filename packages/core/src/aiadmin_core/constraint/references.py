"""What the `$ref`s of one JSON schema stand for. Pure; used by `schema`."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from .unenforceable import Unenforceable

KEPT = (
    *("type", "enum", "const", "properties", "required", "additionalProperties", "patternProperties"),
    *("minProperties", "maxProperties", "items", "prefixItems", "additionalItems", "minItems", "maxItems"),
    *("minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("multipleOf", "allOf", "anyOf", "oneOf", "x-guidance"),
)
"""The keywords that are enforced; those `schema` writes otherwise, and annotations, are not among them."""


class References:
    """Those within `root`, the schema as it came; nothing is fetched."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._ids = _ids_of(root)

    def resolve(self, schema: Any) -> Any:
        """What `schema` refers to; a reference with other keywords beside it counts with all of them."""
        for _ in range(32):
            if not (isinstance(schema, dict) and isinstance(schema.get("$ref"), str)):
                return schema
            try:
                target = self.at(schema["$ref"], "#")
            except Unenforceable:
                return schema
            beside = {key: value for key, value in schema.items() if key != "$ref" and key in KEPT}
            schema = {"allOf": [target, beside]} if beside else target
        return schema

    def at(self, reference: str, where: str) -> Any:
        """What `reference`, which stands at `where`, points to. Raises `Unenforceable`."""
        base, _, fragment = reference.partition("#")
        found: Any = self._ids.get(base) if base else self._root
        if found is None:
            raise Unenforceable(f"{where}/$ref", f"{reference!r} is outside of the schema")
        if fragment and not fragment.startswith("/"):
            found = self._ids.get(f"#{fragment}")
            if found is None:
                raise Unenforceable(f"{where}/$ref", f"nothing is called {reference!r}")
            return found
        for step in fragment.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(step)] if isinstance(found, list) else found[step]
            except (KeyError, IndexError, ValueError, TypeError):
                raise Unenforceable(f"{where}/$ref", f"{reference!r} points to nothing") from None
        return found

    def check_progress(self, reference: str, where: str) -> None:
        """A schema that is itself before anything has been read describes nothing."""
        waiting, seen = [reference], set[str]()
        while waiting:
            current = waiting.pop()
            if current in seen:
                if current == reference:
                    raise Unenforceable(f"{where}/$ref", f"{reference!r} refers to itself in a circle")
                continue
            seen.add(current)
            waiting.extend(_references_at_once(self.at(current, where)))


def _references_at_once(schema: Any) -> Iterator[str]:
    """References that a document has to meet before any of it is read."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in schema[keyword] if isinstance(schema.get(keyword), list) else ():
            yield from _references_at_once(part)


def _ids_of(root: Any) -> dict[str, Any]:
    """Schemas by the names they give themselves."""
    found: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for keyword in ("$id", "id"):
                if isinstance(part.get(keyword), str):
                    found.setdefault(part[keyword].rstrip("#"), part)
            if isinstance(part.get("$anchor"), str):
                found.setdefault(f"#{part['$anchor']}", part)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return found
