"""A model whose vocabulary has tokens for it fills gaps."""

import sys

import pytest

from aiadmin_core.runner.opening import opened
from aiadmin_core.specs.events import Finished
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_llamacpp.backend import LlamaBackend

pytestmark = pytest.mark.real_model
BEFORE, AFTER, GAP = 5, 6, 7  # control tokens of the vocabulary that nothing else uses


async def test_a_gap_is_read_between_its_tokens_and_code_stays_text(tiny_gguf, smollm2_gguf, tmp_path):
    path = tmp_path / "infill.gguf"
    sys.modules["_models"].make_tiny_gguf(smollm2_gguf, path, infill=(BEFORE, AFTER, GAP))
    spec = ModelSpec(name="m", digest="", format="gguf", files=(ModelFile(role="model", path=str(path)),))
    engine = opened(LlamaBackend(), spec, EngineOptions(safe_mode=True, n_ctx=512))
    try:
        assert engine.capabilities.suffix
        code = ("def add(a, b):<|im_end|>\n    return ", "\n\nprint(add(1, 2))")
        request = GenerateRequest(
            id=1, input=TextInput(text=code[0], suffix=code[1]), sampling=SamplingParams(max_tokens=2, ignore_eos=True)
        )
        before, after = [await engine.tokenize(text) for text in code]
        assert await engine.tokenize(request) == [BEFORE, *before, AFTER, *after, GAP]
        events = [event async for event in engine.generate(request)]
        (finished,) = [event for event in events if isinstance(event, Finished)]
        assert finished.usage.prompt_tokens == len(before) + len(after) + 3
    finally:
        await engine.close()


def test_one_without_them_says_that_it_does_not(driver):
    assert driver.engine.tokenizer.infill is None
