"""The Jinja environment that chat templates of the Hugging Face kind are written for.

A template comes with a model's files, from a stranger: it runs in Jinja's immutable sandbox and sees nothing but the
variables it is given. Used by `chat_template` only.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateRefused(TemplateError):
    """The template called `raise_exception`: it cannot express this conversation."""


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks what an assistant wrote, for training; here it only renders."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Templates may add to the lists and dicts that they see, which are made anew for each rendering: some collect the
    ids of calls in one."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        adds = isinstance(obj, list | dict) and attr in ("append", "extend", "insert", "update", "setdefault", "pop")
        return adds or super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, list | dict) and len(owner) > _LARGEST:  # a loop over what it adds to never ends
            raise SecurityError("the template makes a list without end")
        return super().call(context, obj, *args, **kwargs)


_LARGEST = 100_000


def environment() -> ImmutableSandboxedEnvironment:
    """A fresh environment with the filters and functions chat templates expect."""
    env = Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", GenerationBlock],
    )
    env.filters["tojson"] = to_json
    env.filters["from_json"] = json.loads
    env.globals["raise_exception"] = _raise_exception
    env.globals["strftime_now"] = time.strftime
    return env


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as models were trained on it: keys in their own order, HTML not escaped (Jinja's own filter does both)."""
    text = json.dumps(
        value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys, default=_listed
    )
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text) if ensure_ascii else text


def _listed(value: Any) -> list[Any]:
    """What filters give, like `map`, comes one by one."""
    if isinstance(value, Iterator):
        return list(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# Plane 16 is let through: the taint of `control_tokens` is one of its characters and must survive.
_NOT_ASCII = re.compile("[^\x00-\x7f\U00100000-\U0010ffff]")


def _raise_exception(message: str) -> None:
    raise TemplateRefused(message)
