"""Owner of a context's handle: the KV cache and the scratch memory of decoding. Only the engine thread calls it."""

import ctypes
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as lib

from aiadmin_core.cache.parking import State
from aiadmin_core.errors import AiAdminError, ModelLoadFailed

from ..cache_type import CACHE_TYPES
from . import log
from .batch import Batch
from .model import Model

OWN_SEQUENCES = 3
"""Sequence ids that a context keeps for itself."""

MAX_SEQUENCES = 256 - OWN_SEQUENCES  # LLAMA_MAX_SEQ of the vendored sources

MOST_COPIED = 2**30
"""Bytes of a cache that are rearranged at once: they are in memory twice meanwhile, and everybody waits."""

ROPE_SCALINGS = {"linear": 1, "yarn": 2}  # llama_rope_scaling_type in llama.h


class OutOfCells(Exception):
    """No room in the KV cache for the batch. Nothing was decoded."""


class Interrupted(Exception):
    """`interrupt` stopped the step. Nothing of it is in the cache."""


class DecodeFailed(AiAdminError):
    """llama.cpp could not compute the step."""

    code = "decode_failed"


class ContextSettings(NamedTuple):
    """How a context is made."""

    n_ctx: int
    n_batch: int
    n_sequences: int
    n_threads: int
    cache_type: str = "f16"
    """One of `cache_type.CACHE_TYPES`."""
    rope_scaling: str = ""
    """One of `ROPE_SCALINGS`; "" leaves positions to the file."""
    rope_factor: float = 1.0
    """How many times the trained context is reached with it."""


class Context:
    """Decodes batches, and holds what was decoded by sequence id.

    One unified cache: a cell belongs to any number of sequences, so that `share` copies nothing.
    """

    def __init__(self, model: Model, settings: ContextSettings) -> None:
        """Raises `ModelLoadFailed`, most often for want of memory."""
        params = lib.llama_context_default_params()
        params.n_ctx = settings.n_ctx
        params.n_batch = settings.n_batch
        params.n_ubatch = min(settings.n_batch, 512)
        params.n_seq_max = settings.n_sequences + OWN_SEQUENCES
        params.type_k, params.type_v = CACHE_TYPES[settings.cache_type].ggml
        params.n_threads = params.n_threads_batch = settings.n_threads
        if settings.rope_scaling:
            params.rope_scaling_type = ROPE_SCALINGS[settings.rope_scaling]
            params.rope_freq_scale = 1 / settings.rope_factor
        params.kv_unified = True  # without it sharing part of a sequence is an assertion that kills the process
        params.no_perf = True
        log.take_errors()
        handle = lib.llama_init_from_model(model.handle, params)
        if not handle:
            raise ModelLoadFailed(
                f"llama.cpp cannot make a context of {settings.n_ctx} tokens: "
                f"{log.take_errors() or 'it gave no reason'}.",
                hint="Memory may be short: serve the model with a smaller context (AIADMIN_CONTEXT_LENGTH).",
            )
        self.handle: Any = handle
        self._memory: Any = lib.llama_get_memory(handle)
        self._flag = ctypes.create_string_buffer(2)
        lib.llama_set_abort_callback(handle, ask_flag(), ctypes.addressof(self._flag))
        self.n_ctx: int = lib.llama_n_ctx(handle)
        self.n_batch: int = lib.llama_n_batch(handle)
        self.companion = settings.n_sequences
        """A sequence id that holds nothing between steps."""
        self._holder = settings.n_sequences + 1  # has the cells that nobody is to fill
        self._scratch = settings.n_sequences + 2  # holds nothing between calls
        self.n_vocab = model.n_vocab
        self.n_threads = settings.n_threads
        self.cache_type = settings.cache_type
        self.positions = f"{settings.rope_scaling} {settings.rope_factor}"
        """How they are scaled: keys hold it."""
        self._nothing = np.zeros(64, np.int32)
        self.can_trim = model.can_trim
        self.n_swa = model.n_swa

    def decode(self, batch: Batch) -> None:
        """Compute `batch`, to the end also where a device computes by itself. Releases the GIL meanwhile.

        Raises `OutOfCells` or `Interrupted`, leaving the cache as it was, or `DecodeFailed`, leaving it undefined.
        """
        status = lib.llama_decode(self.handle, batch.native)
        if status == 0:
            lib.llama_synchronize(self.handle)
            return
        if status == 1:
            raise OutOfCells
        if status == 2:
            raise Interrupted
        raise DecodeFailed(
            f"llama.cpp failed to decode (status {status}): {log.take_errors() or 'it gave no reason'}.",
            hint="The log of the runner may say more.",
        )

    def interrupt(self, wanted: bool) -> None:
        """Stop the step that is being decoded, or about to be, within milliseconds, until called with False. Any
        thread. Where a device computes by itself, the step goes on to its end."""
        log.silence(wanted)
        self._flag.raw = b"\1\0" if wanted else b"\0\0"

    def fill(self, batch: Batch, n: int, n_outputs: int) -> None:
        """Add `n` rows to the end of `batch` that mean nothing, the first `n_outputs` with logits. `remove` the
        `companion` once they are decoded."""
        if n:
            batch.add(self.companion, self._nothing[:n], 0, rows=range(n_outputs))

    def logits(self, n_rows: int) -> npt.NDArray[np.float32]:
        """float32[n_rows, n_vocab], llama.cpp's own memory: of the last step's rows that want logits the first ones, in
        the order of the batch. Valid until the next `decode`."""
        return np.ctypeslib.as_array(lib.llama_get_logits(self.handle), shape=(n_rows, self.n_vocab))

    def set_threads(self, n_threads: int) -> None:
        """From the next step on."""
        if n_threads == self.n_threads:
            return
        lib.llama_set_n_threads(self.handle, n_threads, n_threads)
        self.n_threads = n_threads

    def share(self, source: int, target: int, end: int) -> None:
        """Make the first `end` positions of `source` belong to `target` as well."""
        lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def trim(self, sequence: int, start: int) -> bool:
        """Take positions from `start` on out of `sequence`; False where the model cannot."""
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def hold(self, sequence: int, start: int) -> None:
        """Take positions from `start` on out of `sequence`, and keep their cells from being filled again until the
        next `compact`."""
        lib.llama_memory_seq_cp(self._memory, sequence, self._holder, start, -1)
        lib.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def save(self, sequence: int, start: int, end: int) -> State:
        """Positions [start, end) of `sequence` as bytes: uint8, a new array."""
        lib.llama_memory_seq_cp(self._memory, sequence, self._scratch, start, end)
        state = np.empty(lib.llama_state_seq_get_size(self.handle, self._scratch), np.uint8)
        size = lib.llama_state_seq_get_data(self.handle, _pointer(state), len(state), self._scratch)
        self.remove(self._scratch)
        return state[:size]

    def load(self, state: State, target: int, start: int, first: int, last: int, *, hold: bool = True) -> bool:
        """Put positions [first, last) of a `state`, which was saved from `start` on, at the end of `target`. They come
        to lie in the next free cells; the cells of those before `first` are held or, without `hold`, free again. False,
        and nothing done, where llama.cpp does not take it. What is damaged without showing is taken: check before."""
        if lib.llama_state_seq_set_data(self.handle, _pointer(state), len(state), self._scratch) != len(state):
            self.remove(self._scratch)
            return False
        lib.llama_memory_seq_rm(self._memory, self._scratch, last, -1)
        if first > start and hold:
            lib.llama_memory_seq_cp(self._memory, self._scratch, self._holder, start, first)
        lib.llama_memory_seq_cp(self._memory, self._scratch, target, first, last)
        self.remove(self._scratch)
        return True

    def save_whole(self, sequence: int) -> State:
        """All there is of `sequence` as bytes: uint8, a new array."""
        state = np.empty(lib.llama_state_seq_get_size(self.handle, sequence), np.uint8)
        return state[: lib.llama_state_seq_get_data(self.handle, _pointer(state), len(state), sequence)]

    def load_whole(self, state: State, target: int) -> bool:
        """Make `target` what `save_whole` gave. False, and the target empty, where llama.cpp does not take it."""
        if lib.llama_state_seq_set_data(self.handle, _pointer(state), len(state), target) == len(state):
            return True
        self.remove(target)
        return False

    def compact(self, sequences: Iterable[int]) -> None:
        """Let what is held go, and close all holes. Cells in use keep their order; `sequences` are those that have any.

        Afterwards llama.cpp looks for cells from the first on, and would take one that a sliding window has left
        behind, if it is only one sequence's. So with a window all are held as well. More than `MOST_COPIED` bytes are
        not moved: there the holes are filled as they come, and the order is lost.
        Raises `DecodeFailed`, leaving the cache undefined.
        """
        self.remove(self._holder)
        if self.n_swa:
            for sequence in sequences:
                lib.llama_memory_seq_cp(self._memory, sequence, self._holder, -1, -1)
        size = lib.llama_state_get_size(self.handle)
        if size > MOST_COPIED:
            self.remove(self._holder)
            return
        buffer = np.empty(size, np.uint8)
        size = lib.llama_state_get_data(self.handle, _pointer(buffer), len(buffer))
        if not size or lib.llama_state_set_data(self.handle, _pointer(buffer), size) != size:
            raise DecodeFailed(f"llama.cpp cannot rearrange its cache: {log.take_errors() or 'it gave no reason'}.")

    def remove(self, sequence: int) -> None:
        lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def first_position(self, sequence: int) -> int:
        """The first position still there: sliding-window caches forget. -1 for an empty sequence."""
        return int(lib.llama_memory_seq_pos_min(self._memory, sequence))

    def clear(self) -> None:
        """Forget all sequences."""
        lib.llama_memory_clear(self._memory, False)

    def close(self) -> None:
        if self.handle:
            lib.llama_free(self.handle)
            self.handle = self._memory = None


def _pointer(state: State) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def ask_flag() -> Any:
    """A callback that llama.cpp asks some 500 times a step whether to stop: C's `strlen`, of a text that is empty as
    long as it is to go on. Native, because one in Python waits for the GIL each time (16 ms became 1,260)."""
    libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    return lib.ggml_abort_callback(ctypes.cast(libc.strlen, ctypes.c_void_p).value)
