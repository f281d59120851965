"""The owner of a context's handle, with a tiny model."""

import numpy as np
import pytest

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def context(tiny_gguf):
    from aiadmin_llamacpp.native.context import Context, ContextSettings
    from aiadmin_llamacpp.native.model import Model

    model = Model([str(tiny_gguf)], n_gpu_layers=0, use_extra_bufts=False)
    context = Context(model, ContextSettings(n_ctx=1024, n_batch=512, n_sequences=8, n_threads=1))
    yield context
    context.close()
    model.close()


def batch_of(tokens, *, sequence=0, position=0):
    from aiadmin_llamacpp.native.batch import Batch

    batch = Batch(512)
    batch.add(sequence, np.array(tokens, np.int32), position, rows=[len(tokens) - 1])
    return batch


def test_a_step_is_over_when_its_results_are_there(context, monkeypatch):
    """A device computes by itself after `llama_decode` has returned: who times a step would time nothing."""
    from aiadmin_llamacpp.native import context as module

    waited = []
    synchronize = module.lib.llama_synchronize
    monkeypatch.setattr(module.lib, "llama_synchronize", lambda handle: (waited.append(handle), synchronize(handle)))
    context.clear()

    context.decode(batch_of([1, 2, 3]))

    assert waited == [context.handle]


def test_an_interrupted_step_leaves_nothing_behind(context):
    from aiadmin_llamacpp.native.context import Interrupted

    context.clear()
    context.decode(batch_of([1, 2, 3]))
    expected = context.logits(1)[0].copy()
    context.clear()

    context.interrupt(True)
    with pytest.raises(Interrupted):
        context.decode(batch_of(range(5, 300)))
    context.interrupt(False)
    context.decode(batch_of([1, 2, 3]))

    assert np.array_equal(context.logits(1)[0], expected)


def test_a_state_brought_back_is_the_same_to_the_last_bit(context):
    """In two parts, the first of them shared with somebody who is still there."""
    text = [(7 * n) % 1000 for n in range(40)]
    context.clear()
    context.decode(batch_of(text))
    context.decode(batch_of([5], position=40))
    expected = context.logits(1)[0].copy()
    states = [context.save(0, 0, 32), context.save(0, 32, 40)]
    context.clear()

    context.decode(batch_of([*text[:10], 1, 2, 3], sequence=1))
    context.share(1, 2, 10)
    assert context.load(states[0], 2, 0, 10, 32)
    assert context.load(states[1], 2, 32, 32, 38)
    context.decode(batch_of(text[38:], sequence=2, position=38))
    context.decode(batch_of([5], sequence=2, position=40))

    assert np.array_equal(context.logits(1)[0], expected)


def test_closing_holes_changes_nothing(context):
    context.clear()
    context.decode(batch_of(range(20), sequence=0))
    context.decode(batch_of(range(30), sequence=1))
    context.share(1, 2, 30)
    context.decode(batch_of([3], sequence=2, position=30))
    expected = context.logits(1)[0].copy()
    context.trim(2, 30)
    context.hold(0, 0)

    context.compact([1, 2])
    context.decode(batch_of([3], sequence=2, position=30))

    assert np.array_equal(context.logits(1)[0], expected)


def test_a_cache_too_large_to_be_copied_has_its_holes_filled(context, monkeypatch):
    """Its cells come free all the same."""
    from aiadmin_llamacpp.native import context as module

    monkeypatch.setattr(module, "MOST_COPIED", 0)
    context.clear()
    context.decode(batch_of(range(500), sequence=0))
    context.decode(batch_of(range(500), sequence=1))
    context.hold(0, 0)

    context.compact([1])

    context.decode(batch_of(range(500), sequence=2))


def test_bytes_that_are_no_state_are_refused(context):
    context.clear()

    assert not context.load(np.zeros(100, np.uint8), 0, 0, 0, 4)


def test_where_no_order_is_kept_every_cell_is_used_and_only_rounding_differs(context):
    """Sequences that come and go until nothing lies together, and a state put back among them."""
    from aiadmin_llamacpp.engine.kv import KvCache
    from aiadmin_llamacpp.engine.tokens import TokenBuffer

    def read(kv, text):
        slot = kv.admit(TokenBuffer(text), "", room=0)
        n = len(text) - slot.n
        assert kv.make_room(n)
        context.decode(batch_of(text[slot.n :], sequence=slot.id, position=slot.n))
        kv.extend(slot, n)
        return slot

    text = [(7 * n) % 1000 for n in range(300)]
    context.clear()
    context.decode(batch_of(text))
    expected = context.logits(1)[0].copy()
    state = context.save(0, 0, 300)
    context.clear()
    kv = KvCache(context, n_cells=context.n_ctx, n_sequences=8, keeps_order=False)
    others = [read(kv, [2000 + number, *range(number, number + 167)]) for number in range(6)]
    assert kv.n_used > context.n_ctx - 20
    for slot in others[::2]:
        kv.release(slot)

    slot = kv.admit(TokenBuffer(text), "", room=0)
    assert kv.make_room(300)
    assert context.load(state, slot.id, 0, 0, 299, hold=False)
    kv.take_in(slot, 0, 299)
    context.decode(batch_of(text[299:], sequence=slot.id, position=299))

    assert np.allclose(context.logits(1)[0], expected, atol=0.05)
    kv.extend(slot, 1)
    kv.release(slot)
    for number in range(40):  # a hole that was kept would be missing by now
        kv.release(read(kv, [3000 + number, *range(200 + number)]))
