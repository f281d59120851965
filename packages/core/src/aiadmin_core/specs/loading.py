"""How a model is opened, by the names that people have for it. Declared here once: names, ranges and descriptions.

Modelfiles, `aiadmin set` and aliases store these names among a model's parameters; `EngineOptions` is what a backend
gets. A new one is a field here and one of `EngineOptions`; whoever takes such options reads `load_parameters`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from .model import RopeScaling
from .parameter import Parameter, parameters_of
from .sampling import MAX_INT

MAX_REPLICAS = 64
"""Engines that one model may have: more than any machine has devices."""

Count = Annotated[int, Meta(ge=1, le=MAX_INT)]


class LoadParams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is opened. None leaves it to the settings, then to the backend."""

    num_ctx: Annotated[Count | None, Meta(description="Tokens of context to open it with.")] = None
    num_parallel: Annotated[Count | None, Meta(description="Most answers decoded together.")] = None
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_REPLICAS)] | None, Meta(description="Engines that answer for it together.")
    ] = None
    num_batch: Annotated[Count | None, Meta(description="Most tokens computed in one step.")] = None
    num_thread: Annotated[Count | None, Meta(description="Processor threads to compute with.")] = None
    num_gpu: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_INT)] | None, Meta(description="Layers to keep on the GPU.")
    ] = None
    devices: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)] | None,
        Meta(description="Devices that hold it, separated by commas, for llama.cpp: CUDA0,CUDA1. Default: all."),
    ] = None
    tensor_split: Annotated[
        Annotated[str, Meta(pattern=r"^\d+(\.\d+)?(,\d+(\.\d+)?)*$", max_length=200)] | None,
        Meta(description="Share of it that each device gets, for llama.cpp: 3,1. Default: by their free memory."),
    ] = None
    rope_scaling: Annotated[
        RopeScaling | None,
        Meta(description="How positions are scaled where the context is longer than the trained one."),
    ] = None
    kv_cache_type: Annotated[
        str | None, Meta(description="How keys and values are stored, for llama.cpp: bf16/f16, q8_0, bf16, f16 or f32.")
    ] = None
    draft_model: Annotated[
        Annotated[str, Meta(min_length=1, max_length=600)] | None,
        Meta(description="Small model of the same vocabulary that guesses tokens for it, for llama.cpp."),
    ] = None
    exact: Annotated[
        bool | None, Meta(description="Open it only where the same request gives the same answer to the last bit.")
    ] = None


ENGINE_NAMES = {
    "num_ctx": "n_ctx",
    "num_parallel": "n_parallel",
    "num_batch": "n_batch",
    "num_thread": "n_threads",
    "replicas": "n_replicas",
    "num_gpu": "n_gpu_layers",
}
"""Names of `EngineOptions` that are not the same."""


@cache
def load_parameters() -> Mapping[str, Parameter]:
    """All of them by name, in the order of their declaration."""
    return parameters_of(LoadParams)


def engine_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `values`, some of whose names are others', say of `EngineOptions`, by its names. A value that makes no sense
    counts as absent: it was written by whoever made the model, and nobody who asks could correct it. Pure."""
    found: dict[str, Any] = {}
    for name in load_parameters():
        try:
            value = getattr(msgspec.convert({name: values.get(name)}, LoadParams), name)
        except msgspec.ValidationError:
            continue
        if value is not None:
            found[ENGINE_NAMES.get(name, name)] = value
    return found
