"""Tools whose one argument is a text with a grammar of its own, in the grammars of dialects. The text is one grammar,
quoted or as it is, to which rules refer by name; `choice` puts it beside them. Pure."""

from collections.abc import Sequence

from ...errors import BadRequest
from ...specs.content import Tool


def quoted_text(tool: Tool) -> str:
    """The rule expression of the argument's text between the quotation marks of a JSON string."""
    return f"@{tool.name}-quoted"


def raw_text(tool: Tool) -> str:
    """The rule expression of the argument's text as it is."""
    return f"@{tool.name}-raw"


def text_grammars(tools: Sequence[Tool]) -> dict[str, str]:
    """The grammars that those expressions refer to, by name. Raises `BadRequest` where one is none, or none that can be
    kept to inside of a call."""
    found: dict[str, str] = {}
    if all(tool.text_grammar is None for tool in tools):
        return found
    from ...constraint.quoting import quoted, read_lark  # brings llguidance: not before it is needed

    for index, tool in enumerate(tools):
        if tool.text_grammar is None:
            continue
        try:
            read_lark(tool.text_grammar)
            names = (quoted_text(tool), raw_text(tool))
            found |= dict(
                zip((name[1:] for name in names), (quoted(tool.text_grammar), tool.text_grammar), strict=True)
            )
        except ValueError as error:
            raise BadRequest(
                f"The grammar of the tool '{tool.name}' cannot be kept to: {error}.",
                hint="Its syntax is Lark's, as llguidance reads it.",
                param=f"tools[{index}].text_grammar",
            ) from error
    return found
