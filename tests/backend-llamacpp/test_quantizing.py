"""Weights made smaller by llama.cpp itself."""

import gguf
import pytest

from aiadmin_core.backend import Converts, Quantizes
from aiadmin_core.errors import BadRequest
from aiadmin_llamacpp.backend import LlamaBackend

pytestmark = pytest.mark.real_model


def ignore(done, total):
    pass


def test_weights_become_smaller_and_it_says_how_far_it_is(tiny_gguf, tmp_path):
    target = tmp_path / "small.gguf"
    steps = []

    LlamaBackend().quantize(tiny_gguf, target, "q8_0", lambda done, total: steps.append((done, total)))

    assert target.stat().st_size < tiny_gguf.stat().st_size / 2
    assert LlamaBackend().inspect(target).quantization == "Q8_0"
    n_tensors = len(gguf.GGUFReader(tiny_gguf).tensors)
    assert steps[-1] == (n_tensors, n_tensors)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [("Q4_KM", "no weights of the kind 'Q4_KM'", "Q4_K_M"), ("x", "no weights of the kind 'x'", "Q8_0")],
)
def test_a_kind_there_is_none_of_is_refused_with_those_there_are(tiny_gguf, tmp_path, kind, message, hint):
    with pytest.raises(BadRequest, match=message) as caught:
        LlamaBackend().quantize(tiny_gguf, tmp_path / "small.gguf", kind, ignore)
    assert hint in caught.value.hint


def test_weights_that_were_quantized_are_not_quantized_again(smollm2_gguf, tmp_path):
    with pytest.raises(BadRequest, match="are Q4_1 already"):
        LlamaBackend().quantize(smollm2_gguf, tmp_path / "small.gguf", "Q4_0", ignore)


def test_a_broken_file_is_named_and_leaves_nothing(tiny_gguf, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf.read_bytes()[:100_000])

    with pytest.raises(BadRequest):
        LlamaBackend().quantize(cut, tmp_path / "small.gguf", "Q8_0", ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.gguf"]


def test_whoever_listens_may_end_it(tiny_gguf, tmp_path):
    def leave(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LlamaBackend().quantize(tiny_gguf, tmp_path / "small.gguf", "Q8_0", leave)
    assert not list(tmp_path.iterdir())


def test_the_backend_says_that_it_can():
    assert isinstance(LlamaBackend(), Quantizes)
    assert isinstance(LlamaBackend(), Converts)
