"""A chat's state, without a terminal: what was said, what is set, the request that asks the next thing.

`_commands` changes it by lines like `/set temperature 0`; `_sessions` keeps it.
"""

import math
from dataclasses import dataclass, field
from typing import Any, get_origin

import msgspec

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.sampling import SamplingParams, parameters

from ..routing.defaults import wanted

Content = str | list[dict[str, Any]]
"""Of a message: a text, or a text and images."""
FENCE = '"""'
SETTINGS = ("system", *(name for name in SamplingParams.__struct_fields__ if name != "logprobs"))
"""What can be set by name: log-probabilities are not shown."""


class Leave(Exception):
    """`/bye`."""


@dataclass
class Conversation:
    """One chat with one model."""

    model: str
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the request: temperature, seed, response_format, think, ..."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """What was said, without the system message."""
    verbose: bool = False
    """Whether each answer is followed by what it took."""
    word_wrap: bool = True
    keeps_history: bool = True
    """Whether what is typed is kept for later chats."""

    def request(self, prompt: Content) -> dict[str, Any]:
        """The body that asks `prompt` next."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        asked = {"role": "user", "content": prompt}
        return {"model": self.model, "messages": [*system, *self.messages, asked], **self.options}

    def add(self, prompt: Content, answer: str) -> None:
        """Remember a turn."""
        self.messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def read_setting(name: str, text: str) -> Any:
    """The value of a field of `SamplingParams`, or of the system message, as somebody typed it. Raises `BadRequest`
    where it is none, or out of the field's range; what the model can do with it is the server's to judge."""
    if name in ("system", "stop"):
        return text
    written = _WRITTEN.get(get_origin(parameters()[name].type))
    try:
        value = msgspec.json.decode(text) if written else text
        read = getattr(msgspec.convert({name: value}, SamplingParams, strict=False), name)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{name} cannot be {text!r}: {wanted(error)}.", param=name) from None
    except msgspec.DecodeError:
        raise BadRequest(f"{name} cannot be {text!r}: it is written {written}.", param=name) from None
    if isinstance(read, float) and not math.isfinite(read):
        raise BadRequest(f"{name} cannot be {text!r}: it is a number.", param=name)
    return read


_WRITTEN = {dict: '{"TOKEN ID": BIAS}', tuple: '["TEXT", ...]'}
"""How a field that holds several values is typed: as JSON."""


def is_open(text: str) -> bool:
    """Whether a fence was opened and not closed: Enter goes on instead of sending."""
    return text.count(FENCE) % 2 == 1


def unfenced(text: str) -> str:
    """The message within fences, or `text` itself."""
    stripped = text.strip()
    if len(stripped) >= 2 * len(FENCE) and stripped.startswith(FENCE) and stripped.endswith(FENCE):
        return stripped[len(FENCE) : -len(FENCE)].strip("\n")
    return text
