"""Requests for `/api/chat` to core's: pure, and called once a request by `route`."""

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ChatInput, GenerateRequest, ToolChoice

from ....http.reading import Decoded
from ....serving.call import Call, portable
from ....serving.sampling import keep_alive_s
from ..asking import constraint_of, effort_of, options_of, unplaced
from ..options import DEFAULTS, load_options, sampling_of
from . import wire
from .messages import to_messages


def chat_call(decoded: Decoded[wire.NativeChatRequest]) -> Call:
    """Without messages, a call that only loads the model. Raises `BadRequest` naming the field that is wrong."""
    data = decoded.data
    options = options_of(data)
    sampling, given = sampling_of(options, logprobs=data.logprobs, top=data.top_logprobs)
    request = GenerateRequest(
        id=0,
        input=ChatInput(messages=to_messages(data.messages or ()), tools=_tools(data)),
        sampling=sampling,
        constraint=constraint_of(data),
        tool_choice=_choice(data),
        reasoning_effort=effort_of(data),
        truncate=data.truncate is not False,
    )
    return Call(
        model=data.model,
        requests=(request,) if data.messages else (),
        given=given,
        defaults=DEFAULTS,
        must_reason=True,
        keep_alive_s=keep_alive_s(data.keep_alive),
        lora=None if data.lora is None else tuple(data.lora),
        load=load_options(options),
        names={f"tools[{index}]": f"tools[{index}].function" for index in range(len(data.tools or ()))},
        unplaced=unplaced(data),
        unknown=decoded.unknown,
    )


def _tools(data: wire.NativeChatRequest) -> tuple[Tool, ...]:
    tools: dict[str, Tool] = {}
    for index, tool in enumerate(data.tools or ()):
        path, function = f"tools[{index}].function", tool.function
        if not function.name or function.name in tools:
            why = "is that of another tool, too" if function.name else "must not be empty"
            raise BadRequest(f"'{path}.name' {why}.", param=f"{path}.name")
        parameters = function.parameters
        tools[function.name] = Tool(
            name=function.name,
            description=function.description or "",
            parameters=None if parameters is None else portable(parameters, f"{path}.parameters"),
        )
    return tuple(tools.values())


def _choice(data: wire.NativeChatRequest) -> ToolChoice:
    choice = data.tool_choice
    if choice is None:
        return ToolChoice()
    if not data.tools and choice not in ("none", "auto"):
        raise BadRequest("'tool_choice' is only allowed when 'tools' are given.", param="tool_choice")
    if isinstance(choice, str):
        return ToolChoice(mode=choice)
    name = choice.function.name
    if name not in {tool.function.name for tool in data.tools or ()}:
        param = "tool_choice.function.name"
        raise BadRequest(f"'{param}' is '{name}', which is not among 'tools'.", param=param)
    return ToolChoice(mode="required", names=(name,), parallel=False)  # as on OpenAI's paths
