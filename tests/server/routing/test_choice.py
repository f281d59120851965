"""Which names and options share an engine."""

import pytest

from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_server.routing.choice import engine_key
from aiadmin_server.routing.target import Target

SPEC = ModelSpec(name="m", digest="sha256:a", format="gguf", files=())


def key(*, trained=8192, **options):
    target = Target(requested="m", resolved="m", spec=SPEC, options=EngineOptions(**options), n_ctx_train=trained)
    return engine_key(target, "llamacpp")


@pytest.mark.parametrize("n_ctx", [8193, 10**6, 2**31 - 1])
def test_contexts_beyond_the_trained_one_are_all_that_one(n_ctx):
    """Each would take memory of its own, and clients choose the number."""
    assert key(n_ctx=n_ctx) == key(n_ctx=8192)


def test_other_contexts_are_each_their_own():
    assert len({key(n_ctx=4096), key(n_ctx=8192), key(n_ctx=16384, rope_scaling="yarn"), key()}) == 4
    assert key(n_ctx=16384, trained=0) != key(n_ctx=8192, trained=0)
