"""Constraints as llguidance grammars. Used by `constraint.compiler`, on a worker thread."""

import json

from llguidance import LLMatcher

from ..errors import BadRequest
from ..specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex

_JSON_OPTIONS = {"whitespace_flexible": True, "whitespace_pattern": r" |\n[ \t]{0,40}"}
"""White space between JSON tokens: one space, or one line break with its indentation. A model that is fond of blanks
cannot fill the context with them, and one that indents still can."""


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
            grammar = LLMatcher.grammar_from_lark("start: " + " | ".join(map(_lark_string, options)))
        case LarkGrammar(grammar=lark):
            grammar = LLMatcher.grammar_from_lark(lark)
    return grammar


def _json(schema: dict[str, object] | bool) -> str:
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_JSON_OPTIONS)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"The JSON schema cannot be read: {error}", param="response_format") from error
    return grammar


def _lark_string(text: str) -> str:
    """Quoted as JSON; what llguidance's lexer does not take as it is (U+007F, U+2028, ...) is escaped too."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() or c > "\uffff" else f"\\u{ord(c):04x}" for c in quoted)
