"""The Jinja environment that chat templates of the Hugging Face kind are written for.

A template comes with a model's files, from a stranger: it runs in Jinja's immutable sandbox and sees nothing but the
variables it is given. Used by `chat_template` only.
"""

import json
import re
import time
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateRefused(TemplateError):
    """The template called `raise_exception`: it cannot express this conversation."""


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks what an assistant wrote, for training; here it only renders."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """A fresh environment with the filters and functions chat templates expect."""
    env = ImmutableSandboxedEnvironment(
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
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text) if ensure_ascii else text


# Plane 16 is let through: the taint of `control_tokens` is one of its characters and must survive.
_NOT_ASCII = re.compile("[^\x00-\x7f\U00100000-\U0010ffff]")


def _raise_exception(message: str) -> None:
    raise TemplateRefused(message)
