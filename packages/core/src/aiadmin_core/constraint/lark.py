"""Pieces of Lark grammars in llguidance's dialect, for those who write a `LarkGrammar`: `grammar`, and dialects of tool
calls. Pure; imports nothing heavy.
"""

import json
from collections.abc import Mapping
from typing import Any

JSON_OPTIONS = {"whitespace_flexible": True, "whitespace_pattern": r" |\n[ \t]{0,40}"}
"""White space between JSON tokens: one space, or one line break with its indentation. A model that is fond of blanks
cannot fill the context with them, and one that indents still can."""


TEXT = r"/(?s:.*)/"
"""The regular expression of any text."""


def literal(text: str) -> str:
    """Exactly `text`, which is no control token."""
    quoted = json.dumps(text, ensure_ascii=False)  # and escape what llguidance's lexer does not take: U+007F, U+2028
    return "".join(c if c.isprintable() or c > "\uffff" else f"\\u{ord(c):04x}" for c in quoted)


def marker(text: str, control_tokens: Mapping[str, int]) -> str:
    """`text` as the model has it: a control token, or as plain text."""
    return f"<[{control_tokens[text]}]>" if text in control_tokens else literal(text)


def json_value(schema: Mapping[str, Any]) -> str:
    """JSON that `schema` accepts."""
    return "%json " + json.dumps({**schema, "x-guidance": JSON_OPTIONS})
