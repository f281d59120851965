"""A `GenerateRequest` as OpenAI JSON. Pure; called by the engine once a request.

What equals OpenAI's default is left out, so that a field the client did not send is not sent either and the
upstream's own defaults hold. `extra`, the fields AiAdmin does not know, goes along as it came.
"""

import base64
from collections.abc import Iterator
from typing import Any

from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex
from aiadmin_core.specs.content import AudioPart, ImagePart, Message, Part, TextPart, Tool, ToolResultPart
from aiadmin_core.specs.request import ChatInput, GenerateRequest, TextInput, ToolChoice
from aiadmin_core.specs.sampling import SamplingParams, plain_parameters

CHAT, COMPLETIONS = "/chat/completions", "/completions"

_DEFAULTS = SamplingParams()
_SAMPLING = tuple(parameter.name for parameter in plain_parameters())
"""Their names are those of llama-server and AiAdmin, and (but for repetition, DRY, XTC and mirostat) of vLLM."""


def to_openai(
    request: GenerateRequest,
    *,
    model: str,
    max_tokens_field: str = "max_tokens",
    system: str | None = None,
    stop: tuple[str, ...] = (),
) -> tuple[str, dict[str, Any]]:
    """Path below the base URL, and body. `system` is for conversations that have no system message, `stop` for
    requests without stop strings.

    Raises `UnsupportedParameter` for adapters, which have no name outside this machine, and for tools with a grammar.
    """
    if request.adapters:
        raise UnsupportedParameter("adapters", why="the model is served elsewhere.")
    body: dict[str, Any] = {**request.extra, "model": model}
    if isinstance(request.input, ChatInput):
        body |= _chat(request.input, request.tool_choice, system)
    elif isinstance(request.input, TextInput):
        body["prompt"] = request.input.text
        if request.input.suffix is not None:
            body["suffix"] = request.input.suffix
    else:
        body["prompt"] = list(request.input.tokens)
    is_chat = isinstance(request.input, ChatInput)
    body |= {"stop": list(stop)} if stop else {}
    body |= _sampling(request.sampling, max_tokens_field if is_chat else "max_tokens", is_chat=is_chat)
    body |= _constraint(request.constraint)
    if request.score_prompt:
        body |= {"echo": True, "logprobs": request.sampling.logprobs or 0}
    if request.reads_only:
        body["max_tokens"] = 0
    if request.n > 1:
        body["n"] = request.n
    if request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort
    if request.priority:
        body["priority"] = request.priority
    if request.cache_salt:
        body["cache_salt"] = request.cache_salt
    if request.score_prompt:  # only the usage, which a whole answer has, tells where the prompt ends
        return COMPLETIONS, body
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    return (CHAT if is_chat else COMPLETIONS), body


def _chat(chat: ChatInput, choice: ToolChoice, system: str | None) -> dict[str, Any]:
    messages = [wire for message in chat.messages for wire in _messages(message)]
    if system and not any(message.role in ("system", "developer") for message in chat.messages):
        messages.insert(0, {"role": "system", "content": system})
    body: dict[str, Any] = {"messages": messages}
    if chat.tools:
        body["tools"] = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(chat.tools)]
        body |= _tool_choice(choice)
    if chat.template_options:
        body["chat_template_kwargs"] = chat.template_options
    return body


def _messages(message: Message) -> Iterator[dict[str, Any]]:
    """One turn; tool results, of which a turn may hold several, are messages of their own that come first."""
    for part in message.content:
        if isinstance(part, ToolResultPart):
            yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": _content(part.content)}
    content = tuple(part for part in message.content if not isinstance(part, ToolResultPart))
    if not content and len(message.content):
        return
    wire: dict[str, Any] = {"role": message.role, "content": _content(content)}
    if message.name is not None:
        wire["name"] = message.name
    if message.reasoning is not None:
        wire["reasoning_content"] = message.reasoning
    if message.tool_calls:
        wire["content"] = wire["content"] or None
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    yield wire


def _content(parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    """A lone text is a string: not every server takes a list."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImagePart):
        image = {"url": part.url or f"data:{part.media_type or 'image/png'};base64,{_base64(part.data)}"}
        return {"type": "image_url", "image_url": image | ({"detail": part.detail} if part.detail else {})}
    assert isinstance(part, AudioPart), "tool results are messages of their own"
    return {"type": "input_audio", "input_audio": {"data": _base64(part.data), "format": part.format}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _tool(tool: Tool, path: str) -> dict[str, Any]:
    if tool.text_grammar is not None:
        raise UnsupportedParameter(f"{path}.text_grammar", why="not every server elsewhere keeps to it.")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> dict[str, Any]:
    body: dict[str, Any] = {} if choice.parallel else {"parallel_tool_calls": False}
    if choice.mode == "none":
        return body | {"tool_choice": "none"}
    named = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return {"tool_choice": named[0]}  # one call by itself; some models refuse the other field
    if named:
        return body | {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}}
    return body | ({"tool_choice": "required"} if choice.mode == "required" else {})


def _sampling(sampling: SamplingParams, max_tokens_field: str, *, is_chat: bool) -> dict[str, Any]:
    body = {name: getattr(sampling, name) for name in _SAMPLING if getattr(sampling, name) != getattr(_DEFAULTS, name)}
    if sampling.max_tokens is not None:
        body[max_tokens_field] = sampling.max_tokens
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs} if is_chat else {"logprobs": sampling.logprobs}
    return body


def _constraint(constraint: Constraint | None) -> dict[str, Any]:
    """What OpenAI's API has no field for goes into vLLM's: https://docs.vllm.ai/en/latest/features/structured_outputs/"""
    match constraint:
        case None:
            return {}
        case JsonObject():
            return {"response_format": {"type": "json_object"}}
        case JsonSchema(schema=schema, name=name, strict=strict):
            if isinstance(schema, bool):
                schema = {} if schema else {"not": {}}
            definition = {"name": name, "schema": schema, "strict": strict}
            return {"response_format": {"type": "json_schema", "json_schema": definition}}
        case Regex(pattern=pattern):
            return {"structured_outputs": {"regex": pattern}}
        case Choice(options=options):
            return {"structured_outputs": {"choice": list(options)}}
        case LarkGrammar(grammar=grammar):
            return {"structured_outputs": {"grammar": grammar}}
