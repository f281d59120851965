"""The grammar of model names: `[scheme://][host/][namespace/]model[:tag]`. Pure; used wherever a name is read.

The layout of a models folder has one directory for each part, so the parts' alphabets are what makes a name safe as a
path: none of them can start with a dot or hold a separator.
"""

import re
from typing import NamedTuple

from aiadmin_core.errors import InvalidName

DEFAULT_HOST = "registry.ollama.ai"
"""Names without a host live under this one: the folder is shared with programs that write it so."""
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_SCHEMES = ("http://", "https://")
_ALPHABETS = {
    "host": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"), "letters, digits, '_', '-', '.', ':'", 350),
    "namespace": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"), "letters, digits, '_', '-'", 80),
    "model": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "letters, digits, '_', '-', '.'", 80),
    "tag": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"), "letters, digits, '_', '-', '.'", 80),
}


class ModelName(NamedTuple):
    """A whole name, every part filled in, spelled as it was written."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def display(self) -> str:
        """The shortest text that parses to this name, its tag always shown."""
        text = f"{self.model}:{self.tag}"
        if not _same(self.host, DEFAULT_HOST):
            return f"{self.host}/{self.namespace}/{text}"
        if not _same(self.namespace, DEFAULT_NAMESPACE):
            return f"{self.namespace}/{text}"
        return text

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for names that differ only in case."""
        return tuple(part.lower() for part in self)


def parse_name(text: str) -> ModelName:
    """The name `text` spells. Raises `InvalidName`, which says what part is wrong."""
    rest = text
    for scheme in _SCHEMES:
        if rest.lower().startswith(scheme):
            rest = rest[len(scheme) :]
            break
    path, tag = rest, DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        path, _, tag = rest.rpartition(":")
    parts = path.split("/")
    if len(parts) > 3:
        raise InvalidName(
            f"'{_shown(text)}' is no model name: it has more than three parts between slashes.",
            hint="Names are written [host/][namespace/]model[:tag].",
            param="model",
        )
    host, namespace, model = [DEFAULT_HOST, DEFAULT_NAMESPACE][: 3 - len(parts)] + parts
    name = ModelName(host, namespace, model, tag)
    for kind, part in zip(ModelName._fields, name, strict=True):
        _check(kind, part, text)
    return name


def same_name(first: str, second: str) -> bool:
    """Whether two texts name the same model. A text that is no name equals nothing."""
    try:
        return parse_name(first).key == parse_name(second).key
    except InvalidName:
        return False


def short_name(text: str) -> str:
    """`text` as people and clients write it: the tag that is meant without one is left out."""
    path, _, tag = text.rpartition(":")
    return path if path and tag.lower() == DEFAULT_TAG else text


def _check(kind: str, part: str, text: str) -> None:
    alphabet, allowed, longest = _ALPHABETS[kind]
    if alphabet.fullmatch(part):
        return
    if not part:
        fault = f"its {kind} is empty"
    elif len(part) > longest:
        fault = f"its {kind} is longer than {longest} characters"
    else:
        fault = f"its {kind} '{_shown(part)}' may hold only {allowed} and start with a letter, a digit or '_'"
    raise InvalidName(
        f"'{_shown(text)}' is no model name: {fault}.",
        hint="Names are written [host/][namespace/]model[:tag].",
        param="model",
    )


def _shown(text: str) -> str:
    short = text if len(text) <= 100 else text[:97] + "..."
    return short.encode("unicode_escape").decode("ascii") if not short.isprintable() else short


def _same(first: str, second: str) -> bool:
    return first.lower() == second.lower()
