"""Owner of a context that makes vectors of texts, or ranks them, instead of continuing them. Only the embedder's
thread calls it."""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as lib

from aiadmin_core.errors import ModelLoadFailed

from . import log
from .batch import Batch, Tokens
from .context import DecodeFailed, Interrupted, ask_flag
from .model import Model

NONE, MEAN, OF_THE_MODEL, RANK = 0, 1, -1, 4  # llama_pooling_type in llama.h


class EmbeddingSettings(NamedTuple):
    """How such a context is made."""

    n_most: int
    """Tokens of one micro-batch, and so of an input at most: llama.cpp pools an input that spans two of them wrongly
    (the last one alone), and an encoder's batch that is larger aborts the process."""
    n_sequences: int
    """Inputs of one batch."""
    n_threads: int


class EmbeddingContext:
    """Weights shared with whoever else uses the model; a small cache and scratch memory of its own."""

    def __init__(self, model: Model, settings: EmbeddingSettings) -> None:
        """Of a model whose maker says that it ranks, `embed` gives its classes' numbers. Raises `ModelLoadFailed`:
        memory may be short."""
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = settings.n_most
        params.n_seq_max = settings.n_sequences
        params.n_threads = params.n_threads_batch = settings.n_threads
        params.embeddings = True
        params.pooling_type = OF_THE_MODEL if model.pooling not in (None, NONE) else MEAN
        params.kv_unified = True  # without it a batch is split into micro-batches of equal lengths
        params.no_perf = True
        log.take_errors()
        handle = lib.llama_init_from_model(model.handle, params)
        if not handle:
            raise ModelLoadFailed(
                f"llama.cpp cannot make a context for embeddings: {log.take_errors() or 'it gave no reason'}.",
                hint="Memory may be short.",
            )
        self.handle: Any = handle
        self._memory: Any = lib.llama_get_memory(handle)  # None for encoders, which have no cache
        self._flag = ctypes.create_string_buffer(2)
        lib.llama_set_abort_callback(handle, ask_flag(), ctypes.addressof(self._flag))
        self._batch = Batch(settings.n_most)
        self.n_most = settings.n_most
        self.n_sequences = settings.n_sequences
        self.n_embd: int = model.n_classes if model.pooling == RANK else model.n_embd
        """Numbers that come of a text."""

    def embed(self, inputs: Sequence[Tokens]) -> npt.NDArray[np.float32]:
        """float32[len(inputs), n_embd]: a vector of any length for each input. All of them fit `n_most`, none is empty,
        and there are at most `n_sequences`. Releases the GIL meanwhile.

        Raises `Interrupted`, or `DecodeFailed`.
        """
        self._batch.clear()
        for sequence, tokens in enumerate(inputs):
            self._batch.add(sequence, tokens, 0, rows=range(len(tokens)))
        status = lib.llama_decode(self.handle, self._batch.native)
        if status == 0:
            lib.llama_synchronize(self.handle)
        if self._memory:
            lib.llama_memory_clear(self._memory, False)
        if status == 2:
            raise Interrupted
        if status != 0:
            raise DecodeFailed(
                f"llama.cpp failed to embed (status {status}): {log.take_errors() or 'it gave no reason'}.",
                hint="The log of the runner may say more.",
            )
        rows = [lib.llama_get_embeddings_seq(self.handle, sequence) for sequence in range(len(inputs))]
        return np.stack([np.ctypeslib.as_array(row, shape=(self.n_embd,)) for row in rows])

    def interrupt(self) -> None:
        """Stop what is computed, and whatever is begun later. Any thread."""
        self._flag.raw = b"\1\0"

    def close(self) -> None:
        if self.handle:
            lib.llama_free(self.handle)
            self.handle = self._memory = None
