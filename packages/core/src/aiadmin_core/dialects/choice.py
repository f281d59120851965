"""Which tools an answer may call, and what has to be enforced for it. Pure; used by `assemble`."""

from collections.abc import Mapping

from msgspec.structs import replace

from ..constraint.shape import AnswerShape
from ..constraint.unenforceable import Unenforceable
from ..errors import BadRequest, UnsupportedParameter
from ..specs.content import Tool
from ..specs.request import ChatInput, GenerateRequest
from .find import Speech
from .tools.texts import text_grammars


def offered(request: GenerateRequest) -> tuple[Tool, ...]:
    """The tools the model is shown; those of an answer that must not call any are not."""
    if isinstance(request.input, ChatInput) and request.tool_choice.mode != "none":
        return request.input.tools
    return ()


def to_shape(request: GenerateRequest, speech: Speech, control_tokens: Mapping[str, int]) -> AnswerShape:
    """What `request`'s format, tools and tool choice ask of the answer.

    Raises `BadRequest` where they contradict each other, and `UnsupportedParameter` where `speech` has no grammar for
    calls that have to keep to something.
    """
    tools, choice = offered(request), request.tool_choice
    allowed = [tool for tool in tools if not choice.names or tool.name in choice.names]
    limited = choice.mode == "required" or (choice.mode == "auto" and bool(choice.names))
    if limited and not allowed:
        raise BadRequest("'tool_choice' allows none of the 'tools'.", param="tool_choice")
    if not tools:
        return AnswerShape(format=request.constraint, header=speech.answer_header)
    strict = next((index for index, tool in enumerate(tools) if tool.strict), None)
    texts = text_grammars(tools)
    try:
        calls = speech.call_grammar([*map(_of_an_object, allowed)], choice, control_tokens)
    except Unenforceable as error:
        raise error.refusal(f"tools[{strict}].parameters") from error
    if calls is None and limited:
        raise UnsupportedParameter("tool_choice", why=_WHY)
    if calls is None and strict is not None:
        raise UnsupportedParameter(f"tools[{strict}].strict", why=_WHY)
    if calls is None and request.constraint is not None:
        raise UnsupportedParameter(
            "constraint",
            why="this model cannot keep to a format and be free to call tools.",
            hint="Leave out 'tools', or send tool_choice 'none'.",
        )
    if request.sampling.ignore_eos and not limited and strict is None and request.constraint is None:
        calls = None  # nothing was asked for that could not go on for ever
    return AnswerShape(
        format=request.constraint,
        header=speech.answer_header,
        calls=calls,
        texts=texts,
        required=choice.mode == "required",
        parallel=choice.parallel,
    )


def _of_an_object(tool: Tool) -> Tool:
    """Its arguments are an object, also where their schema allows more."""
    return tool if tool.parameters is None else replace(tool, parameters=tool.parameters | {"type": "object"})


_WHY = "there is no grammar for it on this model."
