"""What a request needs that an engine does not have, by the field's name in core's specs: an API tells it by its own.

Called by the server before a request is sent to a runner, and again by `assemble`. Pure.
"""

import json
from collections.abc import Iterator
from typing import get_args

import msgspec

from .errors import UnsupportedParameter
from .specs.capabilities import Capabilities, ConstraintKind, Modality, OptionalProtocol
from .specs.constraint import Choice, Constraint, JsonObject, JsonSchema, Regex
from .specs.content import AudioPart, ImagePart, Message, Part, ToolResultPart
from .specs.request import (
    ChatInput,
    EmbedRequest,
    GenerateRequest,
    RankingMode,
    Request,
    ScoreRequest,
    TextInput,
    TokenizeRequest,
    TokensInput,
)
from .specs.sampling import SamplingParams

_ALWAYS = frozenset({"max_tokens", "stop", "logprobs"})
"""Fields of `SamplingParams` with a rule of their own."""
_DEFAULTS = SamplingParams()
_INPUTS: dict[Modality, str] = {"text": "text", "image": "images", "audio": "sound"}
_READS: dict[OptionalProtocol, str] = {"embed": "makes embeddings of it", "score": "ranks documents"}
_LACKS: dict[OptionalProtocol, str] = {
    "embed": "makes no embeddings",
    "score": "ranks no documents",
    "tokenize": "does not tell its tokens",
}


def unsupported(request: Request, capabilities: Capabilities) -> UnsupportedParameter | None:
    """The first thing `request` asks for that `capabilities` do not name, ready to be raised; None if all is there.
    A field that has its default value asks for nothing."""
    match request:
        case EmbedRequest():
            return _protocol("embed", capabilities)
        case ScoreRequest(mode=mode):
            return _ranking(mode, capabilities)
        case TokenizeRequest(input=asked):
            inner = unsupported(asked, capabilities) if isinstance(asked, GenerateRequest) else None
            return _protocol("tokenize", capabilities) or inner
        case GenerateRequest():
            return next(_unsupported(request, capabilities), None)


def _ranking(mode: RankingMode, able: Capabilities) -> UnsupportedParameter | None:
    compares = "embed" in able.protocols
    if mode == "similarity" or (mode == "any" and compares):
        return _protocol("embed", able) if "score" not in able.protocols or mode == "similarity" else None
    refusal = _protocol("score", able)
    if refusal is not None and compares:
        refusal.hint = "It makes embeddings: send 'mode': \"similarity\" to compare by them."
    return refusal


def _protocol(wanted: OptionalProtocol, able: Capabilities) -> UnsupportedParameter | None:
    if wanted in able.protocols:
        return None
    return UnsupportedParameter("model", why=f"this model {_LACKS[wanted]}.")


def _unsupported(request: GenerateRequest, able: Capabilities) -> Iterator[UnsupportedParameter]:
    if not able.generates:
        does = [verb for protocol, verb in _READS.items() if protocol in able.protocols]
        yield UnsupportedParameter(
            "model", why=f"this model generates no text, it {' and '.join(does) or 'only reads it'}."
        )
    yield from _input(request, able)
    sampling = request.sampling
    for field in msgspec.structs.fields(SamplingParams):
        name = field.name
        if name in _ALWAYS or name in able.sampling:
            continue
        default = getattr(_DEFAULTS, name)
        if getattr(sampling, name) != default:
            asks_nothing = "" if default is None else f", or send {json.dumps(default)}, which asks for nothing"
            yield UnsupportedParameter(name, hint=f"Leave it out{asks_nothing}.")
    yield from _logprobs(sampling.logprobs, able.max_logprobs)
    if not able.scores_prompts:
        if request.score_prompt:
            yield UnsupportedParameter("score_prompt", why="this model does not report a prompt's log-probabilities.")
        if request.reads_only:
            yield UnsupportedParameter("reads_only", why="this model always answers.", hint="Ask for one token.")
    if request.n > able.max_choices:
        yield UnsupportedParameter("n", why=f"this model gives at most {able.max_choices} for one request.")
    if request.constraint is not None:
        yield from _constraint(request.constraint, able)
    if request.reasoning_effort is not None and not able.reasoning:
        yield UnsupportedParameter("reasoning_effort", why="this model does not reason.")
    if request.adapters and "adapters" not in able.protocols:
        yield UnsupportedParameter("adapters")
    if request.extra and not able.forwards_unknown:
        yield UnsupportedParameter(next(iter(request.extra)), why="nothing here knows this field.")


def _input(request: GenerateRequest, able: Capabilities) -> Iterator[UnsupportedParameter]:
    match request.input:
        case ChatInput(messages=messages, tools=tools, template=template, context=context):
            if template is not None and not able.renders:
                yield UnsupportedParameter("template", why="this model's prompts are not written here.")
            if context and not able.renders:
                yield UnsupportedParameter("context", why="this model's prompts are not written here.")
            if "chat" not in able.inputs:
                yield UnsupportedParameter("messages", why="this model has no conversations, only plain completions.")
            if tools and not able.tools:
                yield UnsupportedParameter("tools")
            for index, message in enumerate(messages):
                yield from _message(message, f"messages[{index}]", able)
        case TextInput(suffix=suffix):
            if "text" not in able.inputs:
                yield UnsupportedParameter("prompt", why="this model takes conversations only.")
            if suffix is not None and not able.suffix:
                yield UnsupportedParameter("suffix")
        case TokensInput():
            if "tokens" not in able.inputs:
                yield UnsupportedParameter("prompt", why="this model takes text, not token ids.")
    if (request.tool_choice.mode == "required" or request.tool_choice.names) and not able.tools:
        yield UnsupportedParameter("tool_choice")


def _message(message: Message, where: str, able: Capabilities) -> Iterator[UnsupportedParameter]:
    for index, part in enumerate(message.content):
        for modality in _modalities(part):
            if modality not in able.modalities:
                takes = " and ".join(word for kind, word in _INPUTS.items() if kind in able.modalities)
                why = f"this model takes {takes}, and this is {modality} input."
                yield UnsupportedParameter(f"{where}.content[{index}]", why=why)


def _modalities(part: Part) -> Iterator[Modality]:
    match part:
        case ImagePart():
            yield "image"
        case AudioPart():
            yield "audio"
        case ToolResultPart(content=content):
            for inner in content:
                yield from _modalities(inner)


def _logprobs(wanted: int | None, most: int | None) -> Iterator[UnsupportedParameter]:
    if wanted is None:
        return
    if most is None:
        yield UnsupportedParameter("logprobs")
    elif wanted > most:
        yield UnsupportedParameter("logprobs", why=f"this model reports at most {most}.")


def _constraint(constraint: Constraint, able: Capabilities) -> Iterator[UnsupportedParameter]:
    match constraint:
        case JsonObject():
            kind = "json_object"
        case JsonSchema():
            kind = "json_schema"
        case Regex():
            kind = "regex"
        case Choice():
            kind = "choice"
        case _:
            kind = "lark"
    if kind not in able.constraints:
        known = [other for other in get_args(ConstraintKind) if other in able.constraints]
        yield UnsupportedParameter(
            "constraint",
            why=f"this model cannot keep to a {kind} format" + (f", only to {', '.join(known)}." if known else "."),
        )
