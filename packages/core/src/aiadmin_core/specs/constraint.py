"""What the answer must look like. Core turns each of these into one llguidance grammar, for every backend."""

from typing import Any

from msgspec import Struct


class JsonObject(Struct, frozen=True, tag="json_object"):
    """Any JSON object: OpenAI's JSON mode."""


class JsonSchema(Struct, frozen=True, kw_only=True, tag="json_schema"):
    """JSON that this schema accepts."""

    schema: dict[str, Any] | bool
    name: str = "schema"
    strict: bool = True


class Regex(Struct, frozen=True, tag="regex"):
    """Text that this regular expression matches from first to last character."""

    pattern: str


class Choice(Struct, frozen=True, tag="choice"):
    """Exactly one of these texts."""

    options: tuple[str, ...]


class LarkGrammar(Struct, frozen=True, tag="lark"):
    """Text that this Lark grammar (llguidance's dialect) derives from `start`."""

    grammar: str


Constraint = JsonObject | JsonSchema | Regex | Choice | LarkGrammar
