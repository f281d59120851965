"""Requests for `/v1/chat/completions` to core's: pure, and called once a request by `route`."""

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.constraint import Constraint, JsonObject, JsonSchema
from aiadmin_core.specs.request import ChatInput, GenerateRequest

from ....http.reading import Decoded
from ....serving.call import Call, portable
from ....serving.sampling import keep_alive_s
from ..extensions import adapters, constraint_of, load_options, told_apart
from ..messages import AssistantMessage, to_messages
from ..sampling import SHARED_RANGES, check_ranges, given, sampling_names, sampling_params
from ..streaming import check_stream_options
from ..unplaced import unplaced
from . import wire
from .tools import offered


def chat_call(decoded: Decoded[wire.ChatCompletionRequest]) -> Call:
    """Raises `BadRequest` naming the field that is out of range or contradicts another."""
    data = decoded.data
    check_ranges(data, SHARED_RANGES)
    check_stream_options(data.stream, data.stream_options)
    if not data.messages:
        raise BadRequest("'messages' must hold at least one message.", param="messages")
    if data.top_logprobs and not data.logprobs:
        raise BadRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    offer = offered(data)
    constraint, constraint_field = _constraint(data)
    asked, unknown = told_apart(decoded.unknown)
    request = GenerateRequest(
        id=0,
        input=ChatInput(
            messages=to_messages(data.messages, "messages"),
            tools=offer.tools,
            continues=_continues(data),
            template_options=portable(data.chat_template_kwargs or {}, "chat_template_kwargs"),
        ),
        sampling=sampling_params(
            data, max_tokens=_max_tokens(data), logprobs=(data.top_logprobs or 0) if data.logprobs else None
        ),
        n=data.n or 1,
        constraint=constraint,
        tool_choice=offer.choice,
        reasoning_effort=_reasoning_effort(data),
        priority=data.priority or 0,
        cache_salt=data.cache_salt or "",
        cache_key=data.prompt_cache_key or "",
        truncate=data.truncation == "auto",
        prediction=_prediction(data.prediction),
        speculation=data.speculation is not False,
    )
    return Call(
        model=data.model,
        requests=(request,),
        given=given(data, request.sampling),
        keep_alive_s=keep_alive_s(data.keep_alive),
        lora=adapters(data),
        load=load_options(data),
        names=_names(data) | offer.names | ({"constraint": constraint_field} if constraint_field else {}),
        unplaced=(*unplaced(data), *asked),
        unknown=unknown,
    )


def _prediction(given: wire.Prediction | None) -> str:
    if given is None:
        return ""
    if isinstance(given.content, str):
        return given.content
    return "".join(part.text for part in given.content)


def _continues(data: wire.ChatCompletionRequest) -> bool:
    """Whether the answer goes on where the last message ends. Raises `BadRequest`."""
    is_assistants = isinstance(data.messages[-1], AssistantMessage)
    if data.continue_final_message and not is_assistants:
        raise BadRequest(
            "'continue_final_message' needs a last message of the role 'assistant'.", param="continue_final_message"
        )
    if data.continue_final_message and data.add_generation_prompt:
        raise BadRequest(
            "'add_generation_prompt' and 'continue_final_message' contradict each other.",
            hint="Send one of them.",
            param="add_generation_prompt",
        )
    continues = is_assistants and data.continue_final_message is not False and not data.add_generation_prompt
    if data.add_generation_prompt is False and not continues:
        raise UnsupportedParameter("add_generation_prompt", why="a prompt ends where the model's turn begins.")
    return continues


def _names(data: wire.ChatCompletionRequest) -> dict[str, str]:
    """Which of two fields for one thing the client used."""
    names = sampling_names(data)
    if data.max_completion_tokens is not None:
        names["max_tokens"] = "max_completion_tokens"
    if data.top_logprobs is not None:
        names["logprobs"] = "top_logprobs"
    if data.reasoning_effort is None and data.think is not None:
        names["reasoning_effort"] = "think"
    elif data.reasoning_effort is None and data.enable_thinking is not None:
        names["reasoning_effort"] = "enable_thinking"
    return names


def _max_tokens(data: wire.ChatCompletionRequest) -> int | None:
    old, new = data.max_tokens, data.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise BadRequest(
            f"'max_tokens' ({old}) and 'max_completion_tokens' ({new}) contradict each other.",
            hint="Send one of them.",
            param="max_tokens",
        )
    return old if new is None else new


def _constraint(data: wire.ChatCompletionRequest) -> tuple[Constraint | None, str]:
    """What the answer must look like, and the field that says so, where it is not OpenAI's."""
    formatted = _response_format(data.response_format)
    extension = constraint_of(data)
    if formatted is not None and extension is not None:
        raise BadRequest(
            f"'response_format' and '{extension[1]}' both say what the answer must look like.",
            hint="Send one of them.",
            param=extension[1],
        )
    return extension or (formatted, "")


def _response_format(
    response_format: wire.TextFormat | wire.JsonObjectFormat | wire.JsonSchemaFormat | None,
) -> Constraint | None:
    if isinstance(response_format, wire.JsonObjectFormat):
        return JsonObject()
    if isinstance(response_format, wire.JsonSchemaFormat):
        definition = response_format.json_schema
        if definition.schema is None:
            return JsonObject()
        schema = portable(definition.schema, "response_format.json_schema.schema")
        return JsonSchema(schema=schema, name=definition.name, strict=bool(definition.strict))
    return None


def _reasoning_effort(data: wire.ChatCompletionRequest) -> str | None:
    """OpenAI's field, or what other servers' switches say in its words. Raises `BadRequest` where they disagree."""
    efforts: dict[str, str] = {}
    if data.reasoning_effort is not None:
        efforts["reasoning_effort"] = data.reasoning_effort
    if data.think is not None:
        efforts["think"] = data.think if isinstance(data.think, str) else "medium" if data.think else "none"
    if data.enable_thinking is not None:
        efforts["enable_thinking"] = "medium" if data.enable_thinking else "none"
    names = list(efforts)
    if len({effort == "none" for effort in efforts.values()}) > 1:
        raise BadRequest(f"'{names[0]}' and '{names[1]}' contradict each other.", hint="Send one.", param=names[1])
    return efforts[names[0]] if names else None
