"""Formats of answers as llguidance grammars. Used by `constraint.answer`, on a worker thread."""

import json
from typing import Any

from llguidance import LLMatcher

from ..errors import BadRequest
from ..specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex
from .lark import literal, styled
from .patterns import with_ascii_classes
from .unenforceable import Unenforceable


def to_grammars(constraint: Constraint) -> list[dict[str, Any]]:
    """The grammar that `constraint` stands for, not yet checked: llguidance's objects, the first one its start.

    Raises `BadRequest` where it is none at all.
    """
    match constraint:
        case JsonObject():
            return _json({"type": "object"})
        case JsonSchema(schema=schema):
            return _json(schema)
        case Regex(pattern=pattern):
            return _grammars(LLMatcher.grammar_from_regex(with_ascii_classes(pattern)))
        case Choice(options=options):
            if not options:
                raise BadRequest("A choice needs at least one option.", param="constraint")
            return [{"lark_grammar": "start: " + " | ".join(map(literal, options))}]
        case LarkGrammar(grammar=lark):
            return [{"lark_grammar": lark}]


def _json(schema: dict[str, Any] | bool) -> list[dict[str, Any]]:
    try:
        return [{"json_schema": styled(schema)}]
    except Unenforceable as error:
        raise error.refusal("constraint") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"The JSON schema cannot be read: {error}", param="constraint") from error


def _grammars(encoded: str) -> list[dict[str, Any]]:
    grammars: list[dict[str, Any]] = json.loads(encoded)["grammars"]
    return grammars
