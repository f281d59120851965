"""Fields that OpenAI's generating endpoints share, checked and brought to core's: sampling and limits."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.sampling import MAX_INT, SamplingParams, parameters, plain_parameters

from ...serving.sampling import ALL_OF_THEM

MAX_STOP = 4

SHARED_RANGES: dict[str, tuple[float, float]] = {
    **{
        parameter.name: (ALL_OF_THEM.get(parameter.name, parameter.low), parameter.high)
        for parameter in parameters().values()
        if parameter.low is not None and parameter.high is not None
    },
    "max_completion_tokens": (1, MAX_INT),
    "n": (1, 128),
    "priority": (-MAX_INT, MAX_INT),
    "repetition_penalty": (0.01, 100),
    "top_logprobs": (0, 20),
}

_SAMPLING = tuple(parameter.name for parameter in plain_parameters())
"""Fields that are called the same in `SamplingParams`."""


class Sampled(Protocol):
    """Fields that a request of any such endpoint has."""

    @property
    def logit_bias(self) -> dict[str, float] | None: ...
    @property
    def repetition_penalty(self) -> float | None: ...
    @property
    def stop(self) -> str | list[str] | None: ...


def check_ranges(data: Struct, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises `BadRequest` for the first field that is out of its range."""
    for name, (low, high) in ranges.items():
        value = getattr(data, name, None)
        if value is not None and not low <= value <= high:
            raise BadRequest(f"'{name}' must be between {low} and {high}, not {value}.", param=name)


def sampling_params(data: Sampled, *, max_tokens: int | None, logprobs: int | None) -> SamplingParams:
    """What `data` asks for. Raises `BadRequest`."""
    return SamplingParams(
        **_asked(data),
        logit_bias=_logit_bias(data.logit_bias or {}),
        max_tokens=max_tokens,
        stop=_stop(data.stop),
        logprobs=logprobs,
    )


def given(data: Sampled, sampling: SamplingParams) -> frozenset[str]:
    """Fields of `SamplingParams` that the client set."""
    named = _asked(data).keys() | ({"logit_bias"} if data.logit_bias is not None else set())
    return frozenset(named | ({"max_tokens"} if sampling.max_tokens is not None else set()))


def sampling_names(data: Sampled) -> dict[str, str]:
    """Which of two fields for one thing the client used."""
    if data.repetition_penalty is None:
        return {}
    return dict.fromkeys(("repeat_penalty", "repeat_last_n"), "repetition_penalty")


def _asked(data: Sampled) -> dict[str, Any]:
    """The plain parameters that the client set. Raises `BadRequest` where two fields say the same."""
    found = {name: getattr(data, name) for name in _SAMPLING if getattr(data, name) is not None}
    found |= {name: 0 for name, value in ALL_OF_THEM.items() if found.get(name) == value}
    penalty = data.repetition_penalty
    if penalty is None:
        return found
    if found.get("repeat_penalty", penalty) != penalty:
        raise BadRequest(
            "'repetition_penalty' and 'repeat_penalty' contradict each other.",
            hint="Send one of them.",
            param="repetition_penalty",
        )
    whole = {} if penalty == 1 else {"repeat_last_n": -1}
    return whole | found | {"repeat_penalty": penalty}


def _stop(stop: str | list[str] | None) -> tuple[str, ...]:
    texts = (stop,) if isinstance(stop, str) and stop else tuple(stop or ())
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
