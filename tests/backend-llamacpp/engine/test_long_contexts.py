"""Contexts beyond the trained one: a choice, not an accident."""

import pytest

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec

TRAINED = 2048
"""The tiny model's."""


@pytest.fixture
def opened(tiny_gguf):
    """Open the tiny model, close it, and give what it found out."""

    def opened(path=tiny_gguf, **options):
        from aiadmin_llamacpp.backend import LlamaBackend

        spec = ModelSpec(
            name="tiny",
            digest="",
            format="gguf",
            files=(ModelFile(role="model", path=str(path), size=path.stat().st_size),),
        )
        options = EngineOptions(safe_mode=True, **options)
        engine = LlamaBackend().open_engine(spec, options)
        engine.close()
        assert LlamaBackend().estimate_memory(spec, options).n_ctx == engine.facts.n_ctx
        return engine.facts

    return opened


def test_a_context_ends_where_the_training_did_and_says_so(opened):
    facts = opened(n_ctx=2 * TRAINED)
    assert facts.n_ctx == TRAINED
    assert any(f"({2 * TRAINED} were asked for): `--rope-scaling yarn`" in note for note in facts.notes)


@pytest.mark.parametrize("scaling", ["yarn", "linear"])
def test_scaled_positions_go_beyond_and_that_is_said(opened, scaling):
    facts = opened(n_ctx=2 * TRAINED, rope_scaling=scaling)
    assert facts.n_ctx == 2 * TRAINED
    assert f"context of {2 * TRAINED} tokens by {scaling} scaling, trained with {TRAINED}" in facts.notes


def test_within_the_trained_context_nothing_is_scaled(opened):
    facts = opened(n_ctx=TRAINED, rope_scaling="yarn")
    assert not any("scaling" in note for note in facts.notes)


def test_a_file_that_scales_by_itself_takes_no_second_scaling(opened, tiny_gguf, tmp_path):
    gguf = pytest.importorskip("gguf")
    scaled = tmp_path / "scaled.gguf"
    reader = gguf.GGUFReader(tiny_gguf)
    writer = gguf.GGUFWriter(scaled, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    assert opened(scaled, n_ctx=TRAINED).n_ctx == TRAINED
    with pytest.raises(ModelLoadFailed, match=r"scales its positions already \(yarn\), up to 2048 tokens"):
        opened(scaled, n_ctx=2 * TRAINED, rope_scaling="linear")
