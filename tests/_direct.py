"""llama.cpp called directly: what a prompt's log-probabilities are, whoever else tells them. Needs llama-cpp-python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as lib

from aiadmin_llamacpp.cache_type import CACHE_TYPES, unasked


def logprobs(path: Path, tokens: Sequence[int], *, chunk: int = 64) -> np.ndarray[Any, Any]:
    """float64[n - 1, n_vocab]: log-softmax of every row but the last, read in chunks of so many tokens."""
    params = lib.llama_model_default_params()
    params.n_gpu_layers, params.use_extra_bufts = 0, False
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    options = lib.llama_context_default_params()
    options.n_ctx, options.n_batch = 1024, 512
    options.type_k, options.type_v = CACHE_TYPES[unasked()[0]].ggml
    context = lib.llama_init_from_model(model, options)
    n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    batch = lib.llama_batch_init(512, 0, 1)
    rows = []
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        batch.n_tokens = len(part)
        for index, token in enumerate(part):
            batch.token[index], batch.pos[index], batch.logits[index] = token, start + index, 1
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
        assert lib.llama_decode(context, batch) == 0
        logits = np.ctypeslib.as_array(lib.llama_get_logits(context), shape=(len(part), n_vocab))
        rows.append(logits.astype(np.float64))
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    lib.llama_model_free(model)
    logits = np.concatenate(rows)[:-1]
    found: np.ndarray[Any, Any] = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return found
