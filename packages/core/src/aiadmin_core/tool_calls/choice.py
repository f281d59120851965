"""Which tools an answer may call, and what has to be enforced for it. Pure; used by `assemble`."""

from collections.abc import Mapping

from ..errors import BadRequest, UnsupportedParameter
from ..specs.constraint import Constraint
from ..specs.content import Tool
from ..specs.request import ChatInput, GenerateRequest
from . import EnforcesToolChoice, ToolDialect


def offered(request: GenerateRequest) -> tuple[Tool, ...]:
    """The tools the model is shown; those of an answer that must not call any are not."""
    if isinstance(request.input, ChatInput) and request.tool_choice.mode != "none":
        return request.input.tools
    return ()


def enforced(
    request: GenerateRequest, dialect: ToolDialect | EnforcesToolChoice | None, control_tokens: Mapping[str, int]
) -> Constraint | None:
    """The constraint that `request`'s tools and tool choice put on the answer, or None.

    Raises `BadRequest` where they contradict the rest of the request, and `UnsupportedParameter` where `dialect` has
    no grammar for them.
    """
    tools, choice = offered(request), request.tool_choice
    allowed = [tool for tool in tools if not choice.names or tool.name in choice.names]
    limited = choice.mode == "required" or (choice.mode == "auto" and bool(choice.names))
    if limited and not allowed:
        raise BadRequest("'tool_choice' allows none of the 'tools'.", param="tool_choice")
    if not tools:
        return None
    if request.constraint is not None:
        raise UnsupportedParameter(
            "response_format",
            why="an answer cannot keep to a format and be free to call tools.",
            hint="Leave out 'tools', or send tool_choice 'none'.",
        )
    strict = next((index for index, tool in enumerate(tools) if tool.strict), None)
    if not limited and strict is None:
        return None
    found = dialect.constraint(allowed, choice, control_tokens) if isinstance(dialect, EnforcesToolChoice) else None
    if found is None:
        param = "tool_choice" if limited else f"tools[{strict}].function.strict"
        raise UnsupportedParameter(param, why="there is no grammar for it on this model.")
    return found
