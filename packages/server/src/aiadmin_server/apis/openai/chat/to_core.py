"""OpenAI's requests to core's: pure, and called once a request by `api.chat` and `api.completions`.

What a request asks for ends in one of three ways: it is in the `GenerateRequest`; it has no effect, as `wire` says
beside the field; or it is in `Call.unplaced`, to be passed on to an engine that forwards it, and otherwise refused by
name unless it asks for nothing (`is_harmless`). What an engine cannot do with a `GenerateRequest` is
`aiadmin_core.refuse`'s business.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, to_builtins

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.constraint import Constraint, JsonObject, JsonSchema
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ChatInput, GenerateRequest, Input, TextInput, TokensInput, ToolChoice
from aiadmin_core.specs.sampling import SamplingParams

from ....http.reading import Decoded
from ....settings import parse_duration
from ..messages import to_message
from . import wire

MAX_INT = 2**31 - 1
MAX_STOP = 4
MAX_PROMPTS = 2048
DEFAULT_COMPLETION_TOKENS = 16

_CHAT_RANGES: dict[str, tuple[float, float]] = {
    "frequency_penalty": (-2, 2),
    "max_completion_tokens": (1, MAX_INT),
    "max_tokens": (1, MAX_INT),
    "min_p": (0, 1),
    "n": (1, 128),
    "presence_penalty": (-2, 2),
    "priority": (-MAX_INT, MAX_INT),
    "repeat_last_n": (-1, MAX_INT),
    "repeat_penalty": (0.01, 100),
    "seed": (-(2**63), 2**63 - 1),
    "temperature": (0, 2),
    "top_k": (0, MAX_INT),
    "top_logprobs": (0, 20),
    "top_p": (0, 1),
}
_COMPLETION_RANGES = {**_CHAT_RANGES, "best_of": (1, 20), "logprobs": (0, 5)}


_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "seed",
    "ignore_eos",
)
"""Fields that are called the same in `SamplingParams`."""


class Call(Struct, frozen=True, kw_only=True):
    """A request as the server carries it out."""

    model: str
    requests: tuple[GenerateRequest, ...]
    """One for each prompt; their `id` is not set yet."""
    given: frozenset[str] = frozenset()
    """Fields of `SamplingParams` that the client set: the others may get the model's own defaults."""
    keep_alive_s: float | None = None
    """How long the model stays loaded afterwards, where the request says."""
    asked_by: dict[str, str] = {}
    """Fields that another field asked for: that one is named where the engine lacks them."""
    unplaced: dict[str, Any] = {}
    """Fields of OpenAI's that core's specs have no place for, as plain JSON values."""
    unknown: dict[str, Any] = {}
    """Fields nobody knows, by path."""


def chat_call(decoded: Decoded[wire.ChatCompletionRequest]) -> Call:
    """Raises `BadRequest` naming the field that is out of range or contradicts another."""
    data = decoded.data
    _check_ranges(data, _CHAT_RANGES)
    _check_stream_options(data)
    if not data.messages:
        raise BadRequest("'messages' must hold at least one message.", param="messages")
    if data.top_logprobs is not None and not data.logprobs:
        raise BadRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    tools = _tools(data.tools or ())
    request = GenerateRequest(
        id=0,
        input=ChatInput(
            messages=tuple(to_message(message, f"messages[{i}]") for i, message in enumerate(data.messages)),
            tools=tools,
            template_options=portable(data.chat_template_kwargs or {}, "chat_template_kwargs"),
        ),
        sampling=_sampling(
            data, max_tokens=_max_tokens(data), logprobs=(data.top_logprobs or 0) if data.logprobs else None
        ),
        n=data.n or 1,
        constraint=_constraint(data.response_format),
        tool_choice=_tool_choice(data, {tool.name for tool in tools}),
        reasoning_effort=data.reasoning_effort,
        priority=data.priority or 0,
        cache_salt=data.cache_salt or "",
    )
    return Call(
        model=data.model,
        requests=(request,),
        given=_given(data, request.sampling),
        keep_alive_s=_keep_alive(data.keep_alive),
        unplaced=_unplaced(data),
        unknown=decoded.unknown,
    )


def completion_call(decoded: Decoded[wire.CompletionRequest]) -> Call:
    """As `chat_call`. Each prompt becomes a request of its own."""
    data = decoded.data
    _check_ranges(data, _COMPLETION_RANGES)
    _check_stream_options(data)
    n_kept = data.n or 1
    n = data.best_of or n_kept
    if n < n_kept:
        raise BadRequest(f"'best_of' ({n}) must not be less than 'n' ({n_kept}).", param="best_of")
    if n > n_kept and data.stream:
        raise BadRequest("'best_of' cannot be streamed: the best is known at the end.", param="best_of")
    if data.echo and data.logprobs is not None:
        raise UnsupportedParameter("echo", why="the log-probabilities of a prompt are not reported.")
    inputs = _prompts(data.prompt, data.suffix)
    if data.echo and any(isinstance(item, TokensInput) for item in inputs):
        raise UnsupportedParameter("echo", why="a prompt of tokens cannot be given back as text.")
    logprobs = 0 if data.logprobs is None and n > n_kept else data.logprobs  # the best is found by them
    sampling = _sampling(data, max_tokens=data.max_tokens or DEFAULT_COMPLETION_TOKENS, logprobs=logprobs)
    return Call(
        model=data.model,
        requests=tuple(
            GenerateRequest(
                id=0,
                input=item,
                sampling=sampling,
                n=n,
                priority=data.priority or 0,
                cache_salt=data.cache_salt or "",
            )
            for item in inputs
        ),
        given=_given(data, sampling),
        asked_by={"n": "best_of", "logprobs": "best_of"} if n > n_kept else {},
        keep_alive_s=_keep_alive(data.keep_alive),
        unplaced=_unplaced(data),
        unknown=decoded.unknown,
    )


AnyRequest = wire.ChatCompletionRequest | wire.CompletionRequest


def _check_ranges(data: AnyRequest, ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        value = getattr(data, name, None)
        if value is not None and not low <= value <= high:
            raise BadRequest(f"'{name}' must be between {low} and {high}, not {value}.", param=name)


def _check_stream_options(data: AnyRequest) -> None:
    if data.stream_options is None:
        return
    if not data.stream:
        raise BadRequest("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    if data.stream_options.include_obfuscation:
        raise UnsupportedParameter("stream_options.include_obfuscation", why="chunks are sent as they are.")


def _sampling(data: AnyRequest, *, max_tokens: int | None, logprobs: int | None) -> SamplingParams:
    given = {name: getattr(data, name) for name in _SAMPLING if getattr(data, name) is not None}
    return SamplingParams(
        **given,
        logit_bias=_logit_bias(data.logit_bias or {}),
        max_tokens=max_tokens,
        stop=_stop(data.stop),
        logprobs=logprobs,
    )


def _given(data: AnyRequest, sampling: SamplingParams) -> frozenset[str]:
    named = {name for name in (*_SAMPLING, "logit_bias") if getattr(data, name) is not None}
    return frozenset(named | ({"max_tokens"} if sampling.max_tokens is not None else set()))


def _max_tokens(data: wire.ChatCompletionRequest) -> int | None:
    old, new = data.max_tokens, data.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise BadRequest(
            f"'max_tokens' ({old}) and 'max_completion_tokens' ({new}) contradict each other.",
            hint="Send one of them.",
            param="max_tokens",
        )
    return old if new is None else new


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    texts = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(texts) > MAX_STOP:
        raise BadRequest(f"'stop' holds at most {MAX_STOP} texts, not {len(texts)}.", param="stop")
    if "" in texts:
        raise BadRequest("'stop' must not hold an empty text.", param="stop")
    return texts


def _logit_bias(bias: Mapping[str, float]) -> dict[int, float]:
    for token, value in bias.items():
        if not (re.fullmatch("[0-9]{1,10}", token) and int(token) <= MAX_INT):
            raise BadRequest(f"'logit_bias' is keyed by token ids; '{token[:40]}' is none.", param="logit_bias")
        if not -100 <= value <= 100:
            raise BadRequest(f"'logit_bias' values must be between -100 and 100, not {value}.", param="logit_bias")
    return {int(token): value for token, value in bias.items()}


def _constraint(
    response_format: wire.TextFormat | wire.JsonObjectFormat | wire.JsonSchemaFormat | None,
) -> Constraint | None:
    if isinstance(response_format, wire.JsonObjectFormat):
        return JsonObject()
    if isinstance(response_format, wire.JsonSchemaFormat):
        definition = response_format.json_schema
        schema = portable(definition.schema, "response_format.json_schema.schema")
        return JsonSchema(schema=schema, name=definition.name, strict=bool(definition.strict))
    return None


def _tools(tools: Sequence[wire.FunctionTool | wire.CustomTool]) -> tuple[Tool, ...]:
    found: list[Tool] = []
    for index, tool in enumerate(tools):
        if isinstance(tool, wire.CustomTool):
            raise UnsupportedParameter(f"tools[{index}].type", why="custom tools are not; functions are.")
        function = tool.function
        parameters = function.parameters
        if parameters is not None:
            parameters = portable(parameters, f"tools[{index}].function.parameters")
        found.append(
            Tool(
                name=function.name,
                description=function.description or "",
                parameters=parameters,
                strict=bool(function.strict),
            )
        )
    return tuple(found)


def _tool_choice(data: wire.ChatCompletionRequest, known: set[str]) -> ToolChoice:
    choice, parallel = data.tool_choice, data.parallel_tool_calls is not False
    if choice is None:
        return ToolChoice(parallel=parallel)
    if not known and choice not in ("none", "auto"):
        raise BadRequest("'tool_choice' is only allowed when 'tools' are given.", param="tool_choice")
    if isinstance(choice, str):
        return ToolChoice(mode=choice, parallel=parallel)
    if isinstance(choice, wire.CustomChoice):
        raise UnsupportedParameter("tool_choice.type", why="custom tools are not; functions are.")
    names: tuple[str, ...]
    if isinstance(choice, wire.FunctionChoice):
        names, param = (choice.function.name,), "tool_choice.function.name"
        result = ToolChoice(mode="required", names=names, parallel=parallel)
    else:
        allowed = choice.allowed_tools
        names, param = tuple(tool.function.name for tool in allowed.tools), "tool_choice.allowed_tools.tools"
        if not names:
            raise BadRequest(f"'{param}' must name at least one tool.", param=param)
        result = ToolChoice(mode=allowed.mode, names=names, parallel=parallel)
    if missing := [name for name in names if name not in known]:
        raise BadRequest(f"'tool_choice' names '{missing[0]}', which is not among 'tools'.", param=param)
    return result


def _prompts(prompt: str | list[str | int | list[int]], suffix: str | None) -> tuple[Input, ...]:
    if isinstance(prompt, str):
        return (TextInput(text=prompt, suffix=suffix),)
    if not prompt:
        raise BadRequest("'prompt' must not be an empty list.", param="prompt")
    if len(prompt) > MAX_PROMPTS and not isinstance(prompt[0], int):
        raise BadRequest(f"'prompt' holds at most {MAX_PROMPTS} prompts, not {len(prompt)}.", param="prompt")
    if all(isinstance(item, str) for item in prompt):
        return tuple(TextInput(text=text, suffix=suffix) for text in prompt if isinstance(text, str))
    if suffix is not None:
        raise BadRequest("'suffix' needs a prompt of text.", param="suffix")
    if all(isinstance(item, int) for item in prompt):
        return (_tokens([token for token in prompt if isinstance(token, int)], "prompt"),)
    if all(isinstance(item, list) for item in prompt):
        return tuple(_tokens(item, f"prompt[{i}]") for i, item in enumerate(prompt) if isinstance(item, list))
    raise BadRequest("'prompt' mixes texts and tokens.", hint="Send one kind.", param="prompt")


def _tokens(tokens: list[int], param: str) -> TokensInput:
    if not tokens:
        raise BadRequest(f"'{param}' must hold at least one token.", param=param)
    if wrong := next((token for token in tokens if not 0 <= token <= MAX_INT), None):
        raise BadRequest(f"'{param}' holds {wrong}, which is no token id.", param=param)
    return TokensInput(tokens=tuple(tokens))


def _keep_alive(value: float | str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"'keep_alive' cannot be read: {error}.", param="keep_alive") from None


def portable(value: Any, path: str) -> Any:
    """`value`, if the runner's protocol can carry it: integers of at most 64 bits."""
    if isinstance(value, dict):
        for key, item in value.items():
            portable(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            portable(item, f"{path}[{index}]")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadRequest(f"'{path}' holds a number of more than 64 bits.", param=path)
    return value


# Fields without a place in core, and whether a value of theirs asks for nothing that is not done anyway.
_HARMLESS: dict[str, Callable[[Any], bool]] = {
    "metadata": lambda _: True,
    "modalities": lambda value: value == ["text"],
    "prompt_cache_key": lambda _: True,
    "prompt_cache_options": lambda value: value.get("ttl") is None,
    "prompt_cache_retention": lambda value: value != "24h",
    "safety_identifier": lambda _: True,
    "service_tier": lambda value: value in ("auto", "default"),
    "store": lambda value: value is False,
    "user": lambda _: True,
    "verbosity": lambda value: value == "medium",
    "audio": lambda _: False,
    "function_call": lambda _: False,
    "functions": lambda _: False,
    "moderation": lambda _: False,
    "prediction": lambda _: False,
    "web_search_options": lambda _: False,
}
WHY: dict[str, str] = {
    "modalities": "answers are text.",
    "prompt_cache_options": "cached prefixes are kept as long as there is room.",
    "prompt_cache_retention": "cached prefixes are kept as long as there is room.",
    "service_tier": "there is one tier; 'priority' (a number) orders requests.",
    "store": "chat completions are not stored.",
    "verbosity": "say it in the prompt.",
    "functions": "it was replaced by 'tools'.",
    "function_call": "it was replaced by 'tool_choice'.",
}
"""What is said when one of them is refused."""


def is_harmless(name: str, value: Any) -> bool:
    """Whether an engine that knows nothing of an unplaced field answers as the client wishes."""
    return _HARMLESS[name](value)


def _unplaced(data: AnyRequest) -> dict[str, Any]:
    values = {name: getattr(data, name, None) for name in _HARMLESS}
    return {name: to_builtins(value) for name, value in values.items() if value is not None}
