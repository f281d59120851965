"""A chat's state and its commands, without a terminal: what was said, what is set, what `/set temperature 0` does."""

import math
from dataclasses import dataclass, field
from typing import Any, get_origin

import msgspec

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.sampling import SamplingParams, parameters

from ._sampling import wanted

FENCE = '"""'
SETTINGS = ("system", *(name for name in SamplingParams.__struct_fields__ if name != "logprobs"))
"""What `/set` knows: log-probabilities are not shown."""
HELP = f'''\
/set NAME VALUE   set one of these, or, without VALUE, unset it:
{" " * 18}{", ".join(SETTINGS)}
/set              show what is set
/clear            forget the conversation
/help             show this
/bye              leave (also Ctrl-D)
""" ... """       a message of several lines; Alt-Enter starts a new line anywhere
Ctrl-C            stop the answer'''


class Leave(Exception):
    """`/bye`."""


@dataclass
class Conversation:
    """One chat with one model."""

    model: str
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the request: temperature, seed, ..."""
    messages: list[dict[str, str]] = field(default_factory=list)
    """What was said, without the system message."""

    def request(self, prompt: str) -> dict[str, Any]:
        """The body that asks `prompt` next."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        asked = {"role": "user", "content": prompt}
        return {"model": self.model, "messages": [*system, *self.messages, asked], **self.options}

    def add(self, prompt: str, answer: str) -> None:
        """Remember a turn."""
        self.messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]

    def obey(self, line: str) -> str:
        """Carry out a line that starts with "/" and say what was done. Raises `Leave`."""
        command, _, rest = line.partition(" ")
        match command:
            case "/bye" | "/exit" | "/quit":
                raise Leave
            case "/help" | "/?":
                return HELP
            case "/clear":
                self.messages.clear()
                return "Forgot the conversation."
            case "/set":
                return self._set(*rest.strip().partition(" ")[::2])
        return f"There is no command {command}; /help lists them."

    def _set(self, name: str, text: str) -> str:
        text = unfenced(text.strip())
        if not name:
            shown = {"system": self.system, **self.options}
            return (
                "\n".join(f"{key} = {value}" for key, value in shown.items() if value is not None) or "Nothing is set."
            )
        if name not in SETTINGS:
            return f"Cannot set {name}; there are {', '.join(SETTINGS)}."
        try:
            value = read_setting(name, text) if text else None
        except BadRequest as error:
            return error.message
        if name == "system":
            self.system = value
        elif value is None:
            self.options.pop(name, None)
        else:
            self.options[name] = value
        return f"{name} is unset." if value is None else f"{name} = {value}"


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
