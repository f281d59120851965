"""`options` of a request: how to sample, under Ollama's names, and how to open the model. Pure; used by each `to_core`.

A few have no place here. Those that change how fast a model runs, or what becomes of a prompt that does not fit (it is
refused), are hints: left out and named in the answer's headers. Those that would change the answer are refused by name.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.sampling import MAX_INT, SamplingParams, parameters, plain_parameters

from ...serving.call import Unplaced
from ...serving.sampling import SamplingFields, sampled

DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.9}
"""Ollama's own, for what neither the request nor the model says."""

NAMES = {name: f"options.{name}" for name in parameters()} | {
    "max_tokens": "options.num_predict",
    "logprobs": "top_logprobs",
    "constraint": "format",
    "adapters": "lora",
    "reasoning_effort": "think",
}
"""What Ollama's clients call core's fields."""


class Options(SamplingFields, frozen=True, kw_only=True):
    """How the next token is chosen, and how the model is opened."""

    num_predict: int | None = None
    """Most tokens of the answer; below 1 there is no bound but the context."""
    stop: str | list[str] | None = None

    # How the model is opened: one that is open in another way is opened once more.
    num_ctx: int | None = None
    """0 leaves it to the model, as it does in the next two."""
    num_batch: int | None = None
    num_thread: int | None = None
    num_gpu: int | None = None
    """Layers on the GPU; negative leaves it to the backend."""

    # Hints.
    draft_num_predict: int | None = None
    f16_kv: bool | None = None
    logits_all: bool | None = None
    low_vram: bool | None = None
    main_gpu: int | None = None
    num_keep: int | None = None
    numa: bool | None = None
    use_mlock: bool | None = None
    use_mmap: bool | None = None

    # No effect where they ask for what is done anyway; refused by name otherwise.
    penalize_newline: bool | None = None
    tfs_z: float | None = None
    vocab_only: bool | None = None


def sampling_of(options: Options, *, logprobs: bool | None, top: int | None) -> tuple[SamplingParams, frozenset[str]]:
    """What is asked of sampling, and which of its fields were given. Raises `BadRequest` by Ollama's names."""
    if top is not None and not 0 <= top <= 20:
        raise BadRequest(f"'top_logprobs' must be between 0 and 20, not {top}.", param="top_logprobs")
    if top and not logprobs:
        raise BadRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
    values = {parameter.name: getattr(options, parameter.name) for parameter in plain_parameters()}
    open_ended = {"seed": values["seed"], "max_tokens": options.num_predict}  # given, and none: not the model's own
    values |= {
        "seed": _unless(values["seed"], below=0),
        "top_k": None if values["top_k"] is None else max(0, values["top_k"]),
        "max_tokens": _unless(options.num_predict, below=1),
        "stop": _stop(options.stop),
        "logprobs": (top or 0) if logprobs else None,
    }
    params, given = sampled(values, NAMES)
    return params, given | {name for name, value in open_ended.items() if value is not None}


def load_options(options: Options) -> EngineOptions | None:
    """How the model is to be opened, where the request says. Raises `BadRequest`."""
    for name, least in {"num_ctx": 0, "num_batch": 0, "num_thread": 0, "num_gpu": -1}.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= MAX_INT:
            path = f"options.{name}"
            raise BadRequest(f"'{path}' must be between {least} and {MAX_INT}, not {value}.", param=path)
    asked = EngineOptions(
        n_ctx=options.num_ctx or None,
        n_batch=options.num_batch or None,
        n_threads=options.num_thread or None,
        n_gpu_layers=_unless(options.num_gpu, below=0),
    )
    return None if asked == EngineOptions() else asked


def unplaced_options(options: Options) -> tuple[Unplaced, ...]:
    """Those that core has no place for."""
    found = ((name, rule, getattr(options, name)) for name, rule in _UNPLACED.items())
    return tuple(rule.applied(f"options.{name}", value) for name, rule, value in found if value is not None)


class Rule(Struct, frozen=True, kw_only=True):
    """What becomes of a field that core has no place for."""

    why: str
    asks_nothing: Callable[[Any], bool] = lambda _: False
    is_hint: bool = False

    def applied(self, name: str, value: Any) -> Unplaced:
        why = "" if self.asks_nothing(value) else self.why
        return Unplaced(name=name, value=value, why=why, is_hint=self.is_hint)


_OPENED = Rule(why="the backend decides about it.", is_hint=True)
_UNPLACED: dict[str, Rule] = {
    "draft_num_predict": _OPENED,
    "f16_kv": _OPENED,
    "logits_all": _OPENED,
    "low_vram": _OPENED,
    "main_gpu": _OPENED,
    "numa": _OPENED,
    "use_mlock": _OPENED,
    "use_mmap": _OPENED,
    "num_keep": Rule(why="a prompt that is too long is refused, not cut.", is_hint=True),
    "penalize_newline": Rule(why="penalties know no exception for line breaks.", asks_nothing=bool),
    "tfs_z": Rule(why="no engine here has this sampler.", asks_nothing=lambda value: value == 1),
    "vocab_only": Rule(why="a model is opened whole.", asks_nothing=lambda value: not value),
}


def _unless(value: int | None, *, below: int) -> int | None:
    """`value`, or None where it is less: Ollama's way to say that nothing is asked for."""
    return None if value is None or value < below else value


def _stop(stop: str | list[str] | None) -> tuple[str, ...] | None:
    if stop is None:
        return None
    texts = (stop,) if isinstance(stop, str) and stop else tuple(stop)
    if "" in texts:
        raise BadRequest("'options.stop' must not hold an empty text.", param="options.stop")
    return texts
