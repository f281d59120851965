"""Owner of one choice's sampler chain. Made, used and closed by the engine thread."""

import secrets
from typing import Any

from llama_cpp import llama_cpp as lib

from aiadmin_core.specs.sampling import SamplingParams

from .batch import Tokens
from .context import Context

GREEDY_BELOW = 1e-5
"""A temperature this low takes the most likely token: further down its reciprocal overflows, and llama.cpp would draw
from infinities."""

RANDOM = 0xFFFF_FFFF  # LLAMA_DEFAULT_SEED: llama.cpp draws a seed by itself, so it is none of ours


def native_seed(seed: int | None, choice: int) -> int:
    """The 32-bit seed of a choice: choice i of a request continues with seed + i; None draws one."""
    return secrets.randbelow(RANDOM) if seed is None else (seed + choice) % RANDOM


class SamplerChain:
    """Bias, penalties, truncation and draw for one choice.

    The order is llama.cpp's own: penalties, top_k, top_p, min_p, temperature. Temperature last means that top_p and
    min_p see the model's distribution whatever the temperature.
    """

    def __init__(self, params: SamplingParams, context: Context, *, seed: int, recent: Tokens) -> None:
        """`recent`: the end of the prompt, which `repeat_penalty` counts in (and OpenAI's two penalties do not)."""
        n_vocab, n_ctx = context.n_vocab, context.n_ctx
        self._context = context
        self._chain: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        bias = [(token, value) for token, value in params.logit_bias.items() if 0 <= token < n_vocab]
        if bias:
            array = (lib.llama_logit_bias * len(bias))(*bias)
            self._add(lib.llama_sampler_init_logit_bias(n_vocab, len(bias), array))
        if params.repeat_penalty != 1.0 and params.repeat_last_n != 0:
            n_last = n_ctx if params.repeat_last_n < 0 else min(params.repeat_last_n, n_ctx)
            repeat = lib.llama_sampler_init_penalties(n_vocab, n_last, params.repeat_penalty, 0.0, 0.0)
            for token in recent[-n_last:]:
                lib.llama_sampler_accept(repeat, int(token))
            self._add(repeat)
        if params.frequency_penalty or params.presence_penalty:
            self._add(
                lib.llama_sampler_init_penalties(n_vocab, n_ctx, 1.0, params.frequency_penalty, params.presence_penalty)
            )
        if params.temperature < GREEDY_BELOW:
            self._add(lib.llama_sampler_init_greedy())
            return
        if 0 < params.top_k < n_vocab:  # a larger one keeps all, and might be no int32
            self._add(lib.llama_sampler_init_top_k(params.top_k))
        if params.top_p < 1.0:
            self._add(lib.llama_sampler_init_top_p(params.top_p, 1))
        if params.min_p > 0.0:
            self._add(lib.llama_sampler_init_min_p(params.min_p, 1))
        if params.temperature != 1.0:
            self._add(lib.llama_sampler_init_temp(params.temperature))
        self._add(lib.llama_sampler_init_dist(seed))

    def _add(self, sampler: Any) -> None:
        lib.llama_sampler_chain_add(self._chain, sampler)  # the chain owns it from here

    def sample(self, row: int) -> int:
        """Draw from the logits of the last decode's `row`, and count the token in."""
        return int(lib.llama_sampler_sample(self._chain, self._context.handle, row))

    def close(self) -> None:
        if self._chain:
            lib.llama_sampler_free(self._chain)
            self._chain = None
