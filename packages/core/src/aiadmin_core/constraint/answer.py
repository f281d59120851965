"""The grammar of a whole answer: what may stand before it, the tool calls in it, and its format. Pure; used by
`compiler`, on a worker thread.
"""

import json
from typing import Any

from ..dialects.dialect import CallGrammar
from .grammar import to_grammars
from .lark import TEXT, literal, marked
from .shape import AnswerShape


def to_grammar(shape: AnswerShape, before: str | None, control_tokens: dict[str, int]) -> str:
    """llguidance's JSON for `shape` after `before` (see `Dialect.before_answer`).

    Raises `BadRequest` where a part of it is no grammar at all.
    """
    grammars: list[dict[str, Any]] = []
    if before is not None:
        grammars.append({"lark_grammar": before})
    name = "answer"
    header = marked(shape.header, control_tokens)
    if shape.calls is not None:
        rules = _with_calls(shape, shape.calls, header, control_tokens)
        grammars.append({"name": name, "lark_grammar": rules})
        grammars += [{"name": known, "lark_grammar": lark} for known, lark in shape.texts.items()]
        name = "format"
    elif header and shape.format is not None:
        grammars.append({"name": name, "lark_grammar": f"start: {header} @format"})
        name = "format"
    if shape.format is not None and not (shape.calls and shape.required):
        first, *others = to_grammars(shape.format)
        grammars += [{**first, "name": name}, *others]
    return json.dumps({"grammars": grammars})


def _with_calls(shape: AnswerShape, calls: CallGrammar, header: str, control_tokens: dict[str, int]) -> str:
    rules = [f"TEXT: {TEXT}", f"section: {calls.body}", *calls.rules]
    opening = marked(calls.opening, control_tokens)
    if shape.required or shape.format is not None:
        rules.append(r"SPACE: /[ \n]{1,4}/")
        start = f"SPACE? {opening} section" if opening else "section"
        if shape.parallel and calls.separator is not None:
            separator = literal(calls.separator) if calls.separator else ""
            start += f" ({separator} {opening} section)*"
        if not shape.required:
            start = f"{start} | {header} @format"
    elif calls.auto is not None:
        start = calls.auto
    elif not calls.opening:
        start = "section | TEXT"
    else:
        # Where a marker begins as plain text, a lazy lexeme ends at its first occurrence.
        lazy = "" if opening.startswith("<[") else "[lazy]"
        rules.append(f"opened{lazy}: TEXT {opening}")
        start = f"(opened section){'*' if shape.parallel else '?'} TEXT"
    return "\n".join([f"start: {start}", *rules])
