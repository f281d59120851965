"""Custom tools: their input is text. For core they are functions of one argument, a string: wrapped on the way in,
unwrapped on the way out. Pure; used by every endpoint that has them."""

import json
import re
from typing import Any, Literal

_OPENING = '{"input":"'
_SPACE = re.compile(r"\s+")
_STARTED = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_WHOLE = re.compile(
    r"""(?: [^"\\]
    | \\ [^u]
    | \\u [dD][89abAB][0-9a-fA-F]{2} \\u [0-9a-fA-F]{4}
    | \\u [dD][89abAB][0-9a-fA-F]{2} (?= [^\\] | \\[^u] )
    | \\u (?![dD][89abAB]) [0-9a-fA-F]{4}
    )*""",
    re.VERBOSE | re.DOTALL,
)
"""Characters of a JSON string as far as nothing that follows can change them."""


def parameters(pattern: str | None, grammar: str | None = None) -> dict[str, Any]:
    """The schema of a custom tool's arguments; its whole input matches `pattern`, or derives from the Lark `grammar`,
    which a schema can only tell the model."""
    description = "The tool's input, as it is."
    if grammar is not None:
        description += f" It keeps to this grammar, in Lark's notation:\n\n{grammar}"
    text: dict[str, Any] = {"type": "string", "description": description}
    if pattern is not None:
        text["pattern"] = f"^(?:{pattern})$"
    return {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}


def wrapped(text: str) -> str:
    """The arguments of a call with this input, as JSON text."""
    return json.dumps({"input": text}, ensure_ascii=False)


class Unwrapper:
    """The input in one call's arguments, as these come. Arguments that do not begin as wrapped ones do are the input
    themselves: an engine that nothing was enforced in may write so."""

    def __init__(self) -> None:
        self._held = ""
        self._state: Literal["before", "inside", "after", "as it is"] = "before"

    def feed(self, arguments: str) -> str:
        """What is certain of the input with more of the arguments."""
        self._held += arguments
        if self._state == "before":
            if started := _STARTED.match(self._held):
                self._state, self._held = "inside", self._held[started.end() :]
            elif not _OPENING.startswith(_SPACE.sub("", self._held)):
                self._state = "as it is"
        if self._state == "inside":
            return self._inside()
        if self._state == "as it is":
            text, self._held = self._held, ""
            return text
        return ""

    def _inside(self) -> str:
        whole = _WHOLE.match(self._held)
        assert whole  # the expression matches nothing at all, too
        if self._held[whole.end() :].startswith('"'):
            self._state = "after"
        self._held = self._held[whole.end() :]
        try:
            text = str(json.loads(f'"{whole[0]}"', strict=False))
        except ValueError:  # no escape that JSON has
            return whole[0]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
