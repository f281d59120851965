"""How a model is opened: the cache's type, and what holds with it."""

import pytest

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_llamacpp.cache_type import unasked

pytestmark = pytest.mark.real_model


@pytest.fixture
def note(tiny_gguf):
    """Open the tiny model, close it, and give what it says of its answers."""

    def note(**options):
        from aiadmin_llamacpp.backend import LlamaBackend

        file = ModelFile(role="model", path=str(tiny_gguf))
        spec = ModelSpec(name="tiny", digest="", format="gguf", files=(file,))
        engine = LlamaBackend().open_engine(spec, EngineOptions(n_ctx=256, safe_mode=True, **options))
        engine.close()
        return engine.facts.notes[0]

    return note


def test_unasked_answers_can_be_reproduced(note):
    """Some processors multiply this model's matrices in blocks of rows: there, with a seed."""
    assert note().startswith(f"{unasked()[0]} cache; reproducible")


def test_the_cache_can_have_another_type(note):
    assert note(kv_cache_type="bf16").startswith("bf16 cache; reproducible")
    assert note(kv_cache_type="q8_0").startswith("q8_0 cache; reproducible")
    assert note(kv_cache_type="f16") == "f16 cache; not reproducible"


@pytest.mark.parametrize("kv_cache_type", ["q4_9", "q8_0/f16", ""])
def test_other_types_are_refused_by_name(note, kv_cache_type):
    with pytest.raises(ModelLoadFailed, match=f"{kv_cache_type!r}"):
        note(kv_cache_type=kv_cache_type)


def test_exact_is_refused_where_it_cannot_be_had(note):
    assert note(exact=True) == f"{unasked()[0]} cache; reproducible"
    with pytest.raises(ModelLoadFailed, match="'exact'"):
        note(exact=True, kv_cache_type="f16")
