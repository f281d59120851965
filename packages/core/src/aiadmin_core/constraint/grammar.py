"""Constraints as llguidance grammars. Used by `constraint.compiler`, on a worker thread."""

import json

from llguidance import LLMatcher

from ..errors import BadRequest
from ..specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex
from .lark import JSON_OPTIONS, literal


def to_grammar(constraint: Constraint) -> str:
    """The grammar that `constraint` stands for, not yet checked.

    Raises `BadRequest` where it is none at all.
    """
    match constraint:
        case JsonObject():
            return _json({"type": "object"})
        case JsonSchema(schema=schema):
            return _json(schema)
        case Regex(pattern=pattern):
            grammar: str = LLMatcher.grammar_from_regex(pattern)
        case Choice(options=options):
            if not options:
                raise BadRequest("A choice needs at least one option.", param="response_format")
            grammar = LLMatcher.grammar_from_lark("start: " + " | ".join(map(literal, options)))
        case LarkGrammar(grammar=lark):
            grammar = LLMatcher.grammar_from_lark(lark)
    return grammar


def _json(schema: dict[str, object] | bool) -> str:
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=JSON_OPTIONS)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"The JSON schema cannot be read: {error}", param="response_format") from error
    return grammar
