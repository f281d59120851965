"""Contexts smaller than llama.cpp can be asked for."""

import pytest

from aiadmin_core.specs.model import EngineOptions
from aiadmin_llamacpp.engine.opening import LEAST_N_CTX, context_settings


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("n_ctx", [1, 64, 127, 255, 256])
def test_no_context_is_asked_for_that_ends_the_process(n_ctx, device):
    """A step must have room for one token of every sequence."""
    options = EngineOptions(n_ctx=n_ctx)
    settings = context_settings(options, n_ctx_train=8192, can_trim=True, unasked=8192, device=device)
    assert settings.n_ctx == LEAST_N_CTX
    assert settings.n_ctx > settings.n_sequences


def test_a_tiny_context_is_opened_as_the_least_there_is_and_says_so(smollm2_spec):
    from aiadmin_llamacpp.backend import LlamaBackend

    engine = LlamaBackend().open_engine(smollm2_spec, EngineOptions(n_ctx=1))
    try:
        assert engine.facts.n_ctx == LEAST_N_CTX
        assert any("the least there is (1 were asked for)" in note for note in engine.facts.notes)
    finally:
        engine.close()
