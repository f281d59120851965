"""Owner of a context's handle: the KV cache and the scratch memory of decoding. Only the engine thread calls it."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as lib

from aiadmin_core.errors import AiAdminError, ModelLoadFailed

from . import log
from .batch import Batch
from .model import Model

MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ of the vendored sources


class OutOfCells(Exception):
    """No room in the KV cache for the batch. Nothing was decoded."""


class DecodeFailed(AiAdminError):
    """llama.cpp could not compute the step."""

    code = "decode_failed"


class ContextSettings(NamedTuple):
    """How a context is made."""

    n_ctx: int
    n_batch: int
    n_sequences: int
    n_threads: int


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
        params.n_seq_max = settings.n_sequences + 1
        params.n_threads = params.n_threads_batch = settings.n_threads
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
        self.n_ctx: int = lib.llama_n_ctx(handle)
        self.n_batch: int = lib.llama_n_batch(handle)
        self.companion = settings.n_sequences
        """A sequence id that holds nothing between steps."""
        self.n_vocab = model.n_vocab
        self.n_threads = settings.n_threads
        self.can_trim = model.can_trim
        self.n_swa = model.n_swa

    def decode(self, batch: Batch) -> None:
        """Compute `batch`. Releases the GIL while it does.

        Raises `OutOfCells`, leaving the cache as it was, or `DecodeFailed`, leaving it undefined.
        """
        status = lib.llama_decode(self.handle, batch.native)
        if status == 0:
            return
        if status == 1:
            raise OutOfCells
        raise DecodeFailed(
            f"llama.cpp failed to decode (status {status}): {log.take_errors() or 'it gave no reason'}.",
            hint="The log of the runner may say more.",
        )

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """float32[n_vocab], llama.cpp's own memory: valid, and what samplers read, until the next `decode`."""
        return np.ctypeslib.as_array(lib.llama_get_logits_ith(self.handle, row), shape=(self.n_vocab,))

    def set_threads(self, n_threads: int) -> None:
        """From the next step on."""
        lib.llama_set_n_threads(self.handle, n_threads, n_threads)
        self.n_threads = n_threads

    def share(self, source: int, target: int, end: int) -> None:
        """Make the first `end` positions of `source` belong to `target` as well."""
        lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def trim(self, sequence: int, start: int) -> bool:
        """Take positions from `start` on out of `sequence`; False where the model cannot."""
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, -1))

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
