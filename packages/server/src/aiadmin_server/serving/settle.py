"""What a call becomes once its engine is known: pure, called once a request by `exchange`."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.refuse import unsupported
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.request import Adapter, ChatInput, GenerateRequest, Input, Request, TokenizeRequest
from aiadmin_core.specs.sampling import SamplingParams

from .call import Call, portable
from .naming import named

_NAMES = {"num_predict": "max_tokens"}
"""Names in manifests that are not those of `SamplingParams`."""
_NOT_SAMPLING = frozenset({"stop", "logprobs"})
"""`stop` of a manifest is joined to the request's when the prompt is rendered."""


def settle(
    call: Call,
    capabilities: Capabilities,
    *,
    defaults: Mapping[str, Any],
    ignore_unknown: bool,
    names: Mapping[str, str] = {},
    system: str | None = None,
    stop: tuple[str, ...] = (),
    adapters: tuple[Adapter, ...] = (),
) -> tuple[tuple[Request, ...], tuple[str, ...]]:
    """The requests as this engine gets them, and the names of fields that are left out.

    `defaults` are the model's own parameters, for what the call leaves open; `names` is what the caller calls neutral
    fields. `system` is for conversations without a system message, `stop` joins the request's own texts, `adapters` are
    applied by all that generate.

    Raises `UnsupportedParameter` for the first thing the engine does not have and, unless `ignore_unknown`, for all
    unknown fields at once.
    """
    unknown = dict(call.unknown)
    hints: list[str] = []
    extra: dict[str, Any] = {}
    if capabilities.forwards_unknown and all(isinstance(request, GenerateRequest) for request in call.requests):
        passed_on = [name for name in unknown if "." not in name]  # what is nested has no place in `extra`
        extra = {field.name: field.value for field in call.unplaced}
        extra |= {name: unknown.pop(name) for name in passed_on}
        for name, value in extra.items():
            portable(value, name)
    else:
        asked = [field for field in call.unplaced if field.why]
        if wanted := next((field for field in asked if not field.is_hint), None):
            raise UnsupportedParameter(wanted.name, why=wanted.why)
        hints = [field.name for field in asked]
    if unknown and not ignore_unknown:
        raise _refuse_unknown(unknown)
    own = own_sampling(call.defaults, capabilities) | own_sampling(defaults, capabilities)
    usable = {name: value for name, value in own.items() if name not in call.given}
    requests: list[Request] = []

    def filled(request: GenerateRequest) -> GenerateRequest:
        stops = tuple(dict.fromkeys((*request.sampling.stop, *stop)))
        sampling = replace(request.sampling, **usable | {"stop": stops})
        told = _told(request.input, system)
        settled = replace(request, input=told, extra=extra, sampling=sampling, adapters=adapters)
        if request.prediction and not capabilities.predictions:
            settled = replace(settled, prediction="")
            if not capabilities.forwards_unknown:
                hints.append(names.get("prediction", "prediction"))
        if not capabilities.reasoning and not (call.must_reason and request.reasoning_effort != "none"):
            settled = replace(settled, reasoning_effort=None)
            if request.reasoning_effort not in (None, "none"):
                hints.append(names.get("reasoning_effort", "reasoning_effort"))
        return settled

    for request in call.requests:
        settled: Request = request
        if isinstance(request, GenerateRequest):
            settled = filled(request)
        elif isinstance(request, TokenizeRequest) and isinstance(request.input, GenerateRequest):
            settled = replace(request, input=filled(request.input))
        if refused := unsupported(settled, capabilities):
            raise named(refused, names)
        requests.append(settled)
    return tuple(requests), (*dict.fromkeys(hints), *unknown)


def _told(input: Input, system: str | None) -> Input:
    """`input` with a system message, where there is one to be had and it is a conversation without."""
    if system is None or not isinstance(input, ChatInput):
        return input
    if any(message.role in ("system", "developer") for message in input.messages):
        return input
    return replace(input, messages=(Message(role="system", content=(TextPart(system),)), *input.messages))


def owned(request: Request, identity: str | None, capabilities: Capabilities) -> Request:
    """`request` where callers are told apart by name: each shares cached prefixes with nobody else, whose prompts
    `cached_tokens` would betray, and nobody goes ahead of the others (`priority` may be negative).

    Another server's cache (`forwards_unknown`) is not ours to divide: it may not know the field, and is sent what the
    client sent.
    """
    if not isinstance(request, GenerateRequest):
        return request  # nothing of it is kept
    salt = request.cache_salt
    if (identity is not None or salt) and not capabilities.forwards_unknown:
        # Nobody's name is in it, and what one caller writes never becomes another's: the name is apart in the JSON.
        salt = sha256(msgspec.json.encode((identity, salt))).hexdigest()
    return replace(request, cache_salt=salt, priority=min(request.priority, 0))


def own_sampling(parameters: Mapping[str, Any], capabilities: Capabilities) -> dict[str, Any]:
    """What a model's parameters say of `SamplingParams`, as far as its engine has it. A value that makes no sense
    counts as absent: it was written by whoever made the model, and nobody who asks could correct it."""
    found: dict[str, Any] = {}
    for name, value in parameters.items():
        field = _NAMES.get(name, name)
        if field in _NOT_SAMPLING or not (field in capabilities.sampling or field == "max_tokens"):
            continue
        try:
            found[field] = asdict(msgspec.convert({field: value}, SamplingParams))[field]
        except msgspec.ValidationError:
            continue
    return found


def _refuse_unknown(unknown: Mapping[str, Any]) -> UnsupportedParameter:
    first, *others = unknown
    also = f" (so is {', '.join(repr(name) for name in others)})" if others else ""
    return UnsupportedParameter(
        first,
        why=f"the field is unknown{also}.",
        hint="Leave it out, or unset AIADMIN_UNKNOWN_FIELDS on the server.",
    )
