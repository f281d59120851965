"""Pieces of Lark grammars in llguidance's dialect, for those who write a `LarkGrammar`: `grammar`, and dialects of tool
calls. Pure; imports nothing heavy.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .schema import enforceable
from .unenforceable import Unenforceable

JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""How JSON is written: on one line, with a space after `,` and `:`, as most models do by themselves. Free white space
doubles the tokens of answers, and a model that is fond of blanks fills the context with them."""
_ESCAPES = 'nrbtf\\"'
"""What a backslash stands before in texts and names. Not `u`: a name that is spelled with it would be none of those
that the schema knows, and be free of what it says of them."""
_ASKED = frozenset((*JSON_STYLE, "whitespace_pattern"))


TEXT = r"/(?s:.*)/"
"""The regular expression of any text."""


def literal(text: str) -> str:
    """Exactly `text`, which is no control token."""
    quoted = json.dumps(text, ensure_ascii=False)  # and escape what llguidance's lexer does not take: U+007F, U+2028
    return "".join(c if c.isprintable() or c > "\uffff" else f"\\u{ord(c):04x}" for c in quoted)


def marker(text: str, control_tokens: Mapping[str, int]) -> str:
    """`text` as the model has it: a control token, or as plain text."""
    return f"<[{control_tokens[text]}]>" if text in control_tokens else literal(text)


def marked(text: str, control_tokens: Mapping[str, int]) -> str:
    """`text` as a rule expression, the control tokens in it as such; "" where it is empty."""
    special = sorted((token for token in control_tokens if token), key=len, reverse=True)
    pieces = re.split("(" + "|".join(map(re.escape, special)) + ")", text) if special else [text]
    return " ".join(marker(piece, control_tokens) for piece in pieces if piece)


def json_value(schema: Mapping[str, Any] | bool) -> str:
    """JSON that `schema` accepts. Raises `unenforceable.Unenforceable`."""
    return "%json " + json.dumps(styled(schema))


def styled(schema: Mapping[str, Any] | bool) -> dict[str, Any]:
    """`schema` for llguidance. It may ask for another style in `x-guidance`, by the names of `JSON_STYLE`. Raises
    `unenforceable.Unenforceable`."""
    written: dict[str, Any] = json.loads(_styled(json.dumps(schema)))
    return written


@lru_cache(maxsize=64)
def _styled(encoded: str) -> str:
    schema = json.loads(encoded)
    written = enforceable(schema)
    if written is False:
        raise Unenforceable("#", "nothing satisfies it")
    asked = schema.get("x-guidance") if isinstance(schema, dict) else None
    style = {key: value for key, value in asked.items() if key in _ASKED} if isinstance(asked, dict) else {}
    style = {**(style or JSON_STYLE), "json_allowed_escapes": _ESCAPES}
    return json.dumps({**(written if isinstance(written, dict) else {}), "x-guidance": style})
