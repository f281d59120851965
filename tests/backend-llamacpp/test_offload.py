"""Which layers go to devices: tables of machines, and properties of every plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.context import LEAST_UNASKED, MOST_UNASKED
from aiadmin_core.errors import ModelLoadFailed
from aiadmin_llamacpp.gguf import Tensor
from aiadmin_llamacpp.offload import (
    ALL,
    RESERVE_BYTES,
    USABLE_SHARE,
    Device,
    Layers,
    chosen,
    plan,
    read_layers,
    read_shares,
    said_of,
)

GB = 10**9
EIGHT_B = Layers(blocks=(140_000_000,) * 32, output=430_000_000)
"""Of a Llama 3.1 8B in Q4_K_M, near enough."""
TOKEN_BYTES = 32 * 2 * 8 * 128 * 2
"""Its keys and values, in f16: 131 kB."""


def device(gigabytes: float, name: str = "CUDA0") -> Device:
    return Device(name=name, free_bytes=int(gigabytes * GB), total_bytes=int(gigabytes * GB))


H100 = Device("CUDA0", free_bytes=84_465_090_560, total_bytes=85_017_493_504)
"""As llama.cpp describes an idle one of 80 GB."""


def floats(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, shape=shape, type=0)


def planned(devices: list[Device], *, layers: Layers = EIGHT_B, n_ctx: int | None = None, trained: int = 131_072):
    return plan(layers, devices, trained=trained, n_ctx=n_ctx, token_bytes=TOKEN_BYTES, compute_bytes=100_000_000)


@pytest.mark.parametrize(
    ("devices", "n_ctx", "n_gpu_layers", "length"),
    [
        ([H100], None, ALL, MOST_UNASKED),
        ([device(12)], None, ALL, 22_272),  # half of what the weights leave
        ([device(8)], None, ALL, 7_680),
        ([device(8)], 16_384, 32, 16_384),  # a long context is asked for: some layers make room for it
        ([device(6)], None, 30, LEAST_UNASKED),
        ([device(2)], None, 6, LEAST_UNASKED),
        ([device(0.4)], None, 0, LEAST_UNASKED),  # not worth it
        ([device(24), device(8, "CUDA1")], None, ALL, MOST_UNASKED),
        ([device(3), device(2, "CUDA1")], None, 17, LEAST_UNASKED),
        ([device(10, "Metal")], None, ALL, 14_848),  # of the machine's 16, as Metal recommends
    ],
)
def test_as_much_goes_to_devices_as_they_hold(devices, n_ctx, n_gpu_layers, length):
    found = planned(devices, n_ctx=n_ctx)
    assert (found.n_gpu_layers, found.n_ctx) == (n_gpu_layers, length)
    assert bool(found.note) == (n_gpu_layers != ALL)


def test_the_note_says_what_stays_where():
    assert planned([device(2), device(1, "CUDA1")]).note.startswith("5 of 33 layers on CUDA0, CUDA1, the others on")


def test_weights_that_are_one_tensor_twice_count_on_the_device_too():
    tied = [floats("token_embd.weight", 256, 1000), floats("output_norm.weight", 256)]
    blocks = [floats("blk.1.attn_q.weight", 256, 256), floats("blk.0.attn_q.weight", 128, 256)]
    assert read_layers([*tied, *blocks]) == Layers((131_072, 262_144), 1_025_024)
    own = [floats("output.weight", 256, 10)]
    assert read_layers([*tied, *own, *blocks]).output == 1024 + 10_240


@given(
    blocks=st.lists(st.integers(1, 2 * GB), min_size=1, max_size=40),
    free=st.lists(st.integers(0, 48 * GB), min_size=1, max_size=4),
    n_ctx=st.none() | st.integers(1, 200_000),
)
def test_what_is_planned_fits_even_where_shares_are_rounded(blocks, free, n_ctx):
    """llama.cpp gives each device its share of the layers by what is free; none may get more than it holds."""
    devices = [Device(f"CUDA{i}", n_bytes, n_bytes) for i, n_bytes in enumerate(free)]
    layers = Layers(tuple(blocks), 1000)
    found = plan(layers, devices, trained=8192, n_ctx=n_ctx, token_bytes=len(blocks) * 1000, compute_bytes=0)
    n_layers = len(blocks) + 1 if found.n_gpu_layers == ALL else found.n_gpu_layers
    assert 0 <= n_layers <= len(blocks) + 1
    cost = sum([1000, *(block + found.n_ctx * 1000 for block in reversed(blocks))][:n_layers])
    assert cost <= sum(max(0, one.free_bytes * USABLE_SHARE - RESERVE_BYTES) for one in devices) or n_layers == 0


FOUR = [device(24, f"CUDA{i}") for i in range(4)]
TWO_UNEQUAL = [device(24), device(8, "CUDA1")]
METAL = [device(10, "Metal")]


def chosen_names(devices, **asked):
    return [one.name for one in chosen(devices, **({"asked": None, "replica": 0, "n_replicas": 1} | asked))]


@pytest.mark.parametrize(
    ("devices", "asked", "names"),
    [
        (FOUR, None, ["CUDA0", "CUDA1", "CUDA2", "CUDA3"]),
        (FOUR, "CUDA2", ["CUDA2"]),
        (FOUR, "cuda3, CUDA0", ["CUDA3", "CUDA0"]),  # in the order asked for: shares follow it
        (TWO_UNEQUAL, "CUDA1,CUDA1", ["CUDA1"]),
        (METAL, "metal", ["Metal"]),
        ([], None, []),
    ],
)
def test_a_model_is_put_on_the_devices_that_are_asked_for(devices, asked, names):
    assert chosen_names(devices, asked=asked) == names


@pytest.mark.parametrize(("devices", "here"), [(FOUR, "CUDA0, CUDA1, CUDA2, CUDA3"), ([], "none that llama.cpp")])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(devices, here):
    with pytest.raises(ModelLoadFailed, match="'CUDA9'") as caught:
        chosen_names(devices, asked="CUDA9")
    assert here in str(caught.value.hint)


@pytest.mark.parametrize(
    ("devices", "n_replicas", "each"),
    [
        (FOUR, 2, [["CUDA0", "CUDA2"], ["CUDA1", "CUDA3"]]),
        (FOUR, 4, [["CUDA0"], ["CUDA1"], ["CUDA2"], ["CUDA3"]]),
        (FOUR, 3, [["CUDA0", "CUDA3"], ["CUDA1"], ["CUDA2"]]),
        (TWO_UNEQUAL, 3, [["CUDA0"], ["CUDA1"], ["CUDA0"]]),
        (METAL, 2, [["Metal"], ["Metal"]]),
        ([], 2, [[], []]),
    ],
)
def test_several_engines_of_a_model_share_the_devices_out(devices, n_replicas, each):
    found = [chosen_names(devices, replica=index, n_replicas=n_replicas) for index in range(n_replicas)]
    assert found == each


@pytest.mark.parametrize(
    ("text", "n_devices", "shares"), [("3,1", 2, (0.75, 0.25)), ("1,0", 2, (1.0, 0.0)), (None, 2, ()), ("3,1", 0, ())]
)
def test_shares_add_up_to_one(text, n_devices, shares):
    assert read_shares(text, n_devices) == shares


@pytest.mark.parametrize("text", ["1", "1,2,3", "0,0"])
def test_shares_that_do_not_fit_the_devices_are_refused(text):
    with pytest.raises(ModelLoadFailed, match="2 devices"):
        read_shares(text, 2)


def test_with_shares_the_device_that_is_full_first_ends_it_for_all():
    def n_layers(shares):
        devices = [device(3), device(12, "CUDA1")]
        found = plan(
            EIGHT_B, devices, trained=8192, n_ctx=2048, token_bytes=TOKEN_BYTES, compute_bytes=0, shares=shares
        )
        return 33 if found.n_gpu_layers == ALL else found.n_gpu_layers

    assert n_layers((0.5, 0.5)) < n_layers((0.1, 0.9)) == n_layers((0.0, 1.0)) == 33


def test_where_a_model_lies_is_said():
    assert said_of(["CUDA0", "CUDA1"], (0.75, 0.25)) == "on CUDA0 (75 %), CUDA1 (25 %)"
    assert said_of(["CUDA1"], ()) == "on CUDA1"
