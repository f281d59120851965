"""From a model's files to an engine that has proved that it decodes. Called by `backend.open_engine`."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from aiadmin_core.cache.parking import Folder, Parking, SharedParking
from aiadmin_core.cache.snapshots import Snapshots
from aiadmin_core.context import chosen_scaling, context_length, context_notes
from aiadmin_core.embedder import N_SEQUENCES
from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.memory import machine_memory
from aiadmin_core.specs.model import EngineOptions, ModelFacts, ModelSpec

from ..build import build_id
from ..cache_type import CACHE_TYPES, unasked
from ..memory import DEFAULT_N_BATCH, SECOND_SHARE, cache_bytes, header_of, read_sizes, second_fits
from ..native.batch import Batch
from ..native.context import MAX_SEQUENCES, Context, ContextSettings
from ..native.devices import free_bytes
from ..native.embedding import RANK
from ..native.model import Model
from . import exactness, side_by_side
from .draft_opening import Draft, open_draft
from .embedding_opening import embedding_settings, open_encoder
from .encoder import LlamaEncoderEngine
from .engine import LlamaEngine
from .facts import SAFE_MODE_NOTE, model_facts
from .files import gguf_paths, parts_of
from .long_prompts import LEAST
from .parked import run_length
from .placing import place
from .speculation import Speculator
from .threads import chosen_threads

LEAST_N_CTX = 256
"""What llama.cpp makes of anything smaller (`GGML_PAD(n_ctx, 256)` in llama-context.cpp). Asked for less, it also
decodes no more than that in one step, and fewer tokens than there are sequences are an assertion that ends the
process."""

N_PARALLEL, N_PARALLEL_ON_GPU = 16, 64
"""Sequences that can run at once, unasked. An H100 gives 64 clients 2,590 tokens/s of SmolLM2 that way, and 1,840 by
sixteens."""

SEQUENCES_PER_PLACE = 4
"""Sequence ids for each one that can run: the others keep cached prefixes."""

MOST_PREFIX_BYTES = 512 * 2**20
"""What parked prefixes may take unasked, on machines of 8 GB and more: a sixteenth."""

SMALL_BYTES = 2**29
"""Of weights that one thread reads in no time."""

SIDE_BY_SIDE_NOTE = "two contexts decode side by side"

N_WARM_UP = 16
"""Tokens of the first step. More than one, because matrices are multiplied by other code than vectors are (the AMX
path crashes on the former alone)."""


def open_engine(model: ModelSpec, options: EngineOptions) -> LlamaEngine | LlamaEncoderEngine:
    """Load, make a context, decode once. Raises `ModelLoadFailed`; a crash of the library ends the process."""
    _refuse_unknown(options)
    if options.speculation is False:  # nothing is guessed, by whomever
        options = msgspec.structs.replace(options, draft_model=None)
    with gguf_paths(model) as paths:
        placed = place(paths, options)
        free_before = free_bytes() if placed.n_gpu_layers else 0
        native = Model(
            paths,
            n_gpu_layers=placed.n_gpu_layers,
            use_extra_bufts=not options.safe_mode,
            devices=placed.devices,
            shares=placed.shares,
        )
    try:
        device = "gpu" if placed.n_gpu_layers else "cpu"
        if native.is_encoder or native.pooling == RANK:
            return open_encoder(native, model, options, device=device)
        settings = context_settings(
            options,
            n_ctx_train=native.n_ctx_train,
            can_trim=native.can_trim,
            unasked=placed.n_ctx,
            device=device,
        )
        if not native.is_decoder:
            raise ModelLoadFailed(
                "The model is an encoder-decoder.", hint="Models that only decode, or only encode, can be served."
            )
        _refuse_second_scaling(native, settings)
        context = _make_context(native, settings, _cache_types(options, device=device))
        try:
            with _few_threads(native, context):
                _warm_up(context)
                block = _block(context, options, device=device)
            facts = _facts(native, context, options, block, device=device, placed=placed.note)
            n_parallel = _n_parallel(options, can_trim=native.can_trim, device=device)
            draft = open_draft(
                model,
                options,
                native,
                context,
                settings._replace(cache_type=context.cache_type),
                n_places=n_parallel,
                n_gpu_layers=placed.n_gpu_layers,
                devices=placed.devices,
            )
            contexts = [context, *_beside(native, context, settings, model, options, device=device)]
            if placed.n_gpu_layers:
                facts = msgspec.structs.replace(facts, device_bytes=max(0, free_before - free_bytes()))
            if len(contexts) > 1:
                facts = msgspec.structs.replace(facts, notes=(*facts.notes, SIDE_BY_SIDE_NOTE))
            return LlamaEngine(
                native,
                contexts,
                facts,
                n_parallel=n_parallel,
                n_sequences=settings.n_sequences,
                embedding=embedding_settings(
                    options, n_ctx=context.n_ctx, beside=True, n_sequences=N_SEQUENCES if native.can_trim else 1
                ),
                block=block or 1,
                keeps_order=device == "cpu",
                always_exact=options.exact,
                parking=_parking(context, model, options, device=device),
                speculators=[_speculator(one, options, block, draft) for one in contexts],
                draft=draft,
                open_apart=_open_apart(native, context, settings, model, device=device),
            )
        except BaseException:
            context.close()
            raise
    except BaseException:
        native.close()
        raise


def _refuse_unknown(options: EngineOptions) -> None:
    if options.extra:
        names = ", ".join(sorted(options.extra))
        raise ModelLoadFailed(f"Unknown engine options: {names}.", hint="The llama.cpp backend has none of its own.")


def context_settings(
    options: EngineOptions, *, n_ctx_train: int, can_trim: bool, unasked: int, device: str = "cpu"
) -> ContextSettings:
    """The context's sizes: as asked, else sensible ones (`unasked` tokens)."""
    n_parallel = _n_parallel(options, can_trim=can_trim, device=device)
    # Every sequence id of a recurrent model costs a whole state, and cannot keep a prefix that others share.
    n_sequences = n_parallel * SEQUENCES_PER_PLACE if can_trim else n_parallel + 1
    scaling = chosen_scaling(options)
    n_ctx = context_length(options, trained=n_ctx_train, unasked=unasked, scales=scaling != "")
    if not n_ctx_train or n_ctx <= n_ctx_train:
        scaling = ""
    return ContextSettings(
        n_ctx=max(n_ctx, LEAST_N_CTX, n_sequences),
        n_batch=max(options.n_batch or DEFAULT_N_BATCH, n_parallel),
        n_sequences=min(MAX_SEQUENCES, n_sequences),
        n_threads=chosen_threads(options.n_threads),
        rope_scaling=scaling,
        rope_factor=n_ctx / n_ctx_train if scaling else 1.0,
    )


def _refuse_second_scaling(native: Model, settings: ContextSettings) -> None:
    """Files whose trained context is a scaled one already say with what."""
    own = native.metadata(f"{native.metadata('general.architecture')}.rope.scaling.type")
    if settings.rope_scaling and own not in (None, "", "none"):
        raise ModelLoadFailed(
            f"The model scales its positions already ({own}), up to {native.n_ctx_train} tokens: "
            f"'{settings.rope_scaling}' cannot be put on top.",
            hint=f"Open it with a context of {native.n_ctx_train} tokens at most.",
        )


def _cache_types(options: EngineOptions, *, device: str) -> list[str]:
    """Which types of cache to try, in order: the one asked for, else those with which answers can be had again. Devices
    have kernels of their own for F16."""
    if options.kv_cache_type is None:
        return ["f16"] if device == "gpu" else [*unasked(), "f16"]
    if options.kv_cache_type not in CACHE_TYPES:
        raise ModelLoadFailed(
            f"No KV cache type {options.kv_cache_type!r}.",
            hint=f"One of {', '.join(CACHE_TYPES)}.",
        )
    return [options.kv_cache_type]


def _make_context(native: Model, settings: ContextSettings, cache_types: list[str]) -> Context:
    """With the first type of cache that this model can have: blocks of 32 values do not fit every head. Raises what the
    last one raised, and what memory is short for at once: the others take more."""
    for cache_type in cache_types[:-1]:
        try:
            return Context(native, settings._replace(cache_type=cache_type))
        except ModelLoadFailed as error:
            if "allocate" in error.message:
                raise
    return Context(native, settings._replace(cache_type=cache_types[-1]))


def _block(context: Context, options: EngineOptions, *, device: str) -> exactness.Block:
    """Raises `ModelLoadFailed` where `exact` is asked and cannot be had."""
    if device == "gpu" or not context.can_trim or context.n_batch < 2 * exactness.N_PROBE:
        block: exactness.Block = None
    elif not CACHE_TYPES[context.cache_type].has_one_path:
        block = 0
    else:
        block = exactness.find_block(_Probe(context))
    if options.exact and not block:
        raise ModelLoadFailed(
            f"This model cannot be served with 'exact': {exactness.note(block, context.cache_type, always=True)}.",
            hint=f"Leave 'exact' out, or choose another quantisation, or a cache of {' or '.join(unasked())}.",
        )
    return block


def _beside(
    native: Model, context: Context, settings: ContextSettings, model: ModelSpec, options: EngineOptions, *, device: str
) -> list[Context]:
    """A second context, where one was asked for, or nothing was and two decode faster than one. Without memory for it
    there is none, nor beside a draft model, which guesses for one."""
    wanted = options.n_contexts or 0
    if wanted == 1 or device == "gpu" or not context.can_trim or model.format != "gguf" or options.draft_model:
        return []
    if not wanted and options.n_parallel is not None:  # no more than that are to run, and each context has as many
        return []
    if not wanted:
        machine = machine_memory()
        sizes = read_sizes(header_of(Path(parts_of(model)[0])))
        n_bytes = cache_bytes(sizes, context.n_ctx, context.cache_type)
        if context.n_threads < 2 or not second_fits(n_bytes, machine.available if machine else None):
            return []
    try:
        other = Context(native, settings._replace(cache_type=context.cache_type))
    except ModelLoadFailed:
        return []
    try:
        if wanted or side_by_side.pays(context, other):
            return [other]
    except BaseException:
        other.close()
        raise
    other.close()
    return []


def _open_apart(
    native: Model, context: Context, settings: ContextSettings, model: ModelSpec, *, device: str
) -> Callable[[int], Context | None] | None:
    """What makes contexts for long prompts, where such a one reads faster: beside BF16 keys and F16 values on a
    processor."""
    suits = context.cache_type == "bf16/f16" and context.can_trim and not context.n_swa and model.format == "gguf"
    if device == "gpu" or not suits or context.n_batch < 2 * LEAST:
        return None
    sizes = read_sizes(header_of(Path(parts_of(model)[0])))

    def open_for(n_tokens: int) -> Context | None:
        """None where its cache is more than a small part of the memory there is."""
        machine = machine_memory()
        if machine is not None and cache_bytes(sizes, n_tokens, "f16") > machine.available // SECOND_SHARE:
            return None
        n_ctx = -(-n_tokens // LEAST_N_CTX) * LEAST_N_CTX
        try:
            return Context(native, settings._replace(n_ctx=n_ctx, n_sequences=1, cache_type="f16"))
        except ModelLoadFailed:
            return None

    return open_for


def _speculator(
    context: Context, options: EngineOptions, block: exactness.Block, draft: Draft | None
) -> Speculator | None:
    """Unasked, only where more rows in a step leave the bits of each as they are: then it changes no answer. A draft
    model asks. States that cannot be trimmed cannot take a wrong guess back."""
    asked = options.speculation is True or draft is not None
    if options.speculation is False or not context.can_trim or not (block or asked):
        return None
    return Speculator(everyone=block == 1 or asked, model=draft.guesses if draft is not None else None)


class _Probe:
    """`exactness.Read` over an empty context, which it leaves empty."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tokens = (np.arange(exactness.N_PROBE, dtype=np.int64) * 2_654_435_761 % context.n_vocab).astype(np.int32)
        self._batch = Batch(exactness.N_PROBE)

    def __call__(self, chunks: Sequence[int]) -> npt.NDArray[np.float32]:
        context, batch = self._context, self._batch
        rows: list[npt.NDArray[np.float32]] = []
        for n in chunks:
            batch.clear()
            batch.add(0, self._tokens[len(rows) : len(rows) + n], len(rows), rows=range(n))
            context.decode(batch)
            rows.extend(context.logits(n).copy())
        context.clear()
        return np.stack(rows)


def _parking(context: Context, model: ModelSpec, options: EngineOptions, *, device: str) -> Parking | Snapshots | None:
    """Where prefixes are kept that leave the context; as whole states, in memory only, of models whose states cannot be
    cut in pieces.

    Files are of use only to the same weights on the same build with the same type of cache, and to no one's who said
    nothing of the weights' digest.
    """
    max_bytes = _default_prefix_bytes() if options.prefix_bytes is None else options.prefix_bytes
    if max_bytes == 0:
        return None
    if not context.can_trim:
        return Snapshots(max_bytes)
    folder = None
    if options.prefix_folder and options.prefix_disk_bytes and model.digest:
        same = (model.digest, build_id(), context.cache_type, device, str(options.safe_mode), context.positions)
        name = hashlib.blake2b("\n".join(same).encode(), digest_size=16).hexdigest()
        folder = Folder(Path(options.prefix_folder) / name, options.prefix_disk_bytes, model=model.digest)
    return SharedParking(run=run_length(context.n_swa), max_bytes=max_bytes, folder=folder)


def _default_prefix_bytes() -> int:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has neither
        return MOST_PREFIX_BYTES
    return min(MOST_PREFIX_BYTES, total // 16)


def _n_parallel(options: EngineOptions, *, can_trim: bool, device: str) -> int:
    unasked = N_PARALLEL_ON_GPU if device == "gpu" and can_trim else N_PARALLEL
    return min(options.n_parallel or unasked, MAX_SEQUENCES)


@contextmanager
def _few_threads(native: Model, context: Context) -> Iterator[None]:
    """A small model is tried on one thread: two, which wait for each other at every step, take ten seconds instead of
    one beside others' work, and nothing is known of that yet."""
    n_threads = context.n_threads
    if native.size_bytes < SMALL_BYTES:
        context.set_threads(1)
    yield
    context.set_threads(n_threads)


def _warm_up(context: Context) -> None:
    n_tokens = min(N_WARM_UP, context.n_batch)
    batch = Batch(n_tokens)
    batch.add(0, np.zeros(n_tokens, np.int32), 0, rows=[n_tokens - 1])
    try:
        context.decode(batch)
    except AiAdminError as error:
        raise ModelLoadFailed(f"The first step failed: {error.message}", hint=error.hint) from error
    context.clear()


def _facts(
    model: Model, context: Context, options: EngineOptions, block: exactness.Block, *, device: str, placed: str
) -> ModelFacts:
    notes = [exactness.note(block, context.cache_type, always=options.exact)]
    if placed:
        notes.append(placed)
    if options.draft_model:
        notes.append(f"'{options.draft_model}' guesses tokens for it")
    if options.safe_mode:
        notes.append(SAFE_MODE_NOTE)
    if model.chat_template is None:
        notes.append("no chat template in the file")
    if options.n_ctx and options.n_ctx < LEAST_N_CTX:
        notes.append(f"context of {context.n_ctx} tokens, the least there is ({options.n_ctx} were asked for)")
    beyond = ": `--rope-scaling yarn` goes beyond"
    notes += context_notes(options, trained=model.n_ctx_train, n_ctx=context.n_ctx, beyond=beyond)
    return model_facts(model, n_ctx=context.n_ctx, device=device, notes=notes)
