"""Loads a model with mlx-lm and proves that it decodes. Runs on the engine thread, which owns all that MLX makes."""

import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import MODEL_REMAPPING, load_model

from aiadmin_core.backend import ModelInfo
from aiadmin_core.cache.parking import Folder
from aiadmin_core.context import chosen_scaling, context_length, context_notes, unasked_context
from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelFacts, ModelSpec

from . import memory
from .engine.pooling import hidden_states
from .files import model_folder
from .safetensors import read_folder
from .tokenizer import MlxTokenizer

OPTIONS = ("memory_limit_bytes", "prompt_cache_bytes")
"""`EngineOptions.extra` settings of this backend: the most memory it may take; of that, for kept prefixes."""

_N_BATCH = 512
_N_PARALLEL = 32
_WARM_UP = 16


@dataclass(kw_only=True)
class OpenedModel:
    """A model in memory, and what the engine may do with it."""

    call: Any
    """The mlx-lm model: (tokens [n_rows, n], cache=caches) -> logits [n_rows, n, n_logits]."""
    hidden: Callable[[mx.array], mx.array] | None
    """(tokens [n_rows, n]) -> the last hidden states; None where the model gives none, and so makes no vectors."""
    make_caches: Callable[[], list[Any]]
    """New empty caches of one sequence."""
    n_logits: int
    """Token ids below this one may be read and come out; the tokenizer may know fewer, or (never in use) more."""
    tokenizer: MlxTokenizer
    facts: ModelFacts
    plan: memory.MemoryPlan
    prefix_folder: Folder | None
    """Where prefixes outlive the engine."""
    n_batch: int
    n_parallel: int
    tokens_per_s: float
    """Prefill speed, as the warm-up measured it."""


def load(model: ModelSpec, options: EngineOptions) -> OpenedModel:
    """Load `model` and decode with it, alone and as a batch. Raises `ModelLoadFailed`."""
    check_options(options)
    choose_device(options)
    limit = int(options.extra.get("memory_limit_bytes") or memory.available_bytes(mx.device_info()))
    with model_folder(model) as folder:
        try:
            info = read_folder(folder)
            size = sum(path.stat().st_size for path in folder.glob("model*.safetensors"))
            memory.check_weights(model.name, weights_bytes=size, limit_bytes=limit)
            call = _load_weights(model.name, folder, info)
            warm_up = _warm_up(call)
            tokenizer = MlxTokenizer(folder, n_logits=warm_up.n_logits)
        except ModelLoadFailed:
            raise
        except AiAdminError as error:  # a broken file, named
            raise ModelLoadFailed(f"{model.name}: {error.message}", hint=error.hint) from error
    n_parallel = (options.n_parallel or _N_PARALLEL) if warm_up.can_batch else 1
    # No `scales`: mlx-lm scales positions as the config says.
    unasked = unasked_context(trained=info.n_ctx_train, token_bytes=warm_up.bytes_per_token, free_bytes=limit - size)
    wanted = context_length(options, trained=info.n_ctx_train, unasked=unasked)
    plan = memory.plan(
        model.name,
        free_bytes=limit - size,
        bytes_per_token=warm_up.bytes_per_token,
        n_ctx=wanted,
        n_parallel=n_parallel,
        prompt_cache_bytes=options.extra.get("prompt_cache_bytes"),
    )
    facts = ModelFacts(
        architecture=info.architecture,
        n_params=info.n_params,
        n_ctx=plan.n_ctx,
        n_ctx_train=info.n_ctx_train,
        n_vocab=tokenizer.n_vocab,
        n_embd=info.n_embd,
        size_bytes=size,
        quantization=info.quantization,
        device=device_name(),
        notes=tuple(
            _notes(
                options,
                plan,
                wanted=wanted,
                n_ctx_train=info.n_ctx_train,
                can_batch=warm_up.can_batch,
                tokenizer=tokenizer,
            )
        ),
    )
    return OpenedModel(
        call=call,
        hidden=hidden_states(call),
        make_caches=lambda: list(make_prompt_cache(call)),
        n_logits=warm_up.n_logits,
        tokenizer=tokenizer,
        facts=facts,
        plan=plan,
        prefix_folder=_prefix_folder(model, options, device=facts.device),
        n_batch=options.n_batch or _N_BATCH,
        n_parallel=n_parallel,
        tokens_per_s=warm_up.tokens_per_s,
    )


def _prefix_folder(model: ModelSpec, options: EngineOptions, *, device: str) -> Folder | None:
    """A folder for what the caches of `model` hold, which depends on its weights and what computes them."""
    if not (options.prefix_folder and options.prefix_disk_bytes and model.digest):
        return None
    libraries = [f"{name} {metadata.version(name)}" for name in ("mlx", "mlx-lm")]
    depends_on = " ".join(["mlx", model.digest, *libraries, device, str(options.safe_mode)])
    name = hashlib.blake2b(depends_on.encode(), digest_size=16).hexdigest()
    return Folder(Path(options.prefix_folder) / name, options.prefix_disk_bytes, model=model.digest)


def check_options(options: EngineOptions) -> None:
    """Raises `ModelLoadFailed` for what MLX cannot do."""
    if unknown := sorted(set(options.extra) - set(OPTIONS)):
        raise ModelLoadFailed(
            f"The MLX backend has no setting {', '.join(unknown)}.", hint=f"It has {', '.join(OPTIONS)}."
        )
    if options.exact:
        raise ModelLoadFailed(
            "MLX cannot be held to 'exact': whether its answers are the same beside others is unmeasured.",
            hint="Leave 'exact' out, or serve a GGUF of the model with llama.cpp.",
        )


def choose_device(options: EngineOptions) -> None:
    """`n_gpu_layers` 0 computes on the CPU (MLX does not split a model); safe mode fuses no kernels at run time."""
    if options.n_gpu_layers == 0:
        mx.set_default_device(mx.cpu)
    if options.safe_mode:
        mx.disable_compile()
    if recommended := mx.device_info().get("max_recommended_working_set_size"):
        mx.set_wired_limit(recommended)  # else macOS may page weights out between requests


def _load_weights(name: str, folder: Path, info: ModelInfo) -> Any:
    """The mlx-lm model of `folder`, its weights in memory."""
    module = MODEL_REMAPPING.get(info.architecture, info.architecture)
    if not module.isidentifier() or importlib.util.find_spec(f"mlx_lm.models.{module}") is None:
        raise ModelLoadFailed(
            f"{name} is of the architecture {info.architecture!r}, which mlx-lm {metadata.version('mlx-lm')} does not "
            "know.",
            hint="Upgrade with `pip install --upgrade mlx-lm`, or pull the model as GGUF for the llama.cpp backend.",
        )
    try:
        call, _ = load_model(folder)
    except Exception as error:  # mlx-lm raises whatever its model files raise
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise ModelLoadFailed(
            f"mlx-lm {metadata.version('mlx-lm')} cannot load {name} ({info.architecture}): {reason}",
            hint="Fetch the files again, or a conversion made for MLX (mlx-community's are).",
        ) from error
    return call


@dataclass(frozen=True, kw_only=True)
class _WarmUp:
    n_logits: int
    bytes_per_token: int
    tokens_per_s: float
    can_batch: bool


def _warm_up(call: Any) -> _WarmUp:
    """Prefill and decode some tokens, alone and as two rows: kernels are compiled, and what fails, fails now."""
    prompt = mx.array([[1] * _WARM_UP])
    try:
        mx.eval(call(prompt, cache=make_prompt_cache(call)))
        caches = make_prompt_cache(call)
        started = time.perf_counter()
        logits = call(prompt, cache=caches)
        mx.eval(logits)
        seconds = time.perf_counter() - started
        mx.eval(call(mx.array([[1]]), cache=caches))
    except Exception as error:
        raise ModelLoadFailed(f"The model's first decode failed: {error}", hint="See `aiadmin doctor`.") from error
    return _WarmUp(
        n_logits=logits.shape[-1],
        bytes_per_token=sum(_bytes_per_token(cache) for cache in caches),
        tokens_per_s=_WARM_UP / seconds,
        can_batch=_can_batch(call, caches),
    )


def _can_batch(call: Any, caches: list[Any]) -> bool:
    """Whether two sequences with these caches can be decoded together: a few models' caches cannot be merged."""
    try:
        merged = [cache.merge([cache, cache]) for cache in caches]
        for cache, other in zip(merged, [cache.merge([cache]) for cache in caches], strict=True):
            cache.extend(other)
            cache.filter([0, 2])
        mx.eval(call(mx.array([[1], [1]]), cache=merged))
    except Exception:  # not implemented, in as many ways as there are caches
        return False
    return True


def _bytes_per_token(cache: Any) -> int:
    """What one more token takes in `cache`; 0 where it does not grow."""
    if hasattr(cache, "caches"):
        return sum(_bytes_per_token(part) for part in cache.caches)
    arrays = [getattr(cache, name, None) for name in ("keys", "values")]
    return sum(array.nbytes // array.shape[2] for array in arrays if isinstance(array, mx.array))


def device_name() -> str:
    device = mx.default_device().type.name
    name = mx.device_info().get("device_name", "") if device == "gpu" else ""
    return f"{device} ({name})" if name else device


def _notes(
    options: EngineOptions,
    plan: memory.MemoryPlan,
    *,
    wanted: int,
    n_ctx_train: int,
    can_batch: bool,
    tokenizer: MlxTokenizer,
) -> Iterator[str]:
    if options.safe_mode:
        yield "safe mode: no kernels are fused at run time"
    if plan.n_ctx < wanted:
        yield f"context cut from {wanted} to {plan.n_ctx} tokens: more does not fit into memory"
    if not can_batch:
        yield "one sequence at a time: this model's cache cannot be batched"
    yield "reproducible: unmeasured"
    yield from context_notes(options, trained=n_ctx_train, n_ctx=wanted)
    if chosen_scaling(options):
        yield "rope_scaling has no effect: MLX scales positions as the model's config.json says"
    if options.kv_cache_type is not None:
        yield "kv_cache_type has no effect: MLX keeps keys and values in the type of the model"
    if options.draft_model is not None:
        yield "draft_model has no effect: MLX guesses no tokens"
    if options.n_threads is not None:
        yield "n_threads has no effect: MLX chooses its threads itself"
    if options.n_gpu_layers is not None and options.n_gpu_layers > 0:
        yield "n_gpu_layers has no effect but for 0: MLX does not split a model"
    for name in ("devices", "tensor_split"):
        if getattr(options, name) is not None:
            yield f"{name} has no effect: MLX does not split a model"
    if tokenizer.chat_template is None:
        yield "no chat template"
