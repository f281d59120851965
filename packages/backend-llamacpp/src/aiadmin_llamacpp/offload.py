"""Which layers of a GGUF go to devices, and how long its context may be there. Pure: sizes in, a plan out.

llama.cpp puts whole layers on devices, the last ones first and the output before them, and shares them out by what is
free on each (`llama-model.cpp`, `load_tensors`). What is on no device is computed by the processor, from the machine's
memory.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiadmin_core.context import LEAST_UNASKED, unasked_context
from aiadmin_core.errors import ModelLoadFailed

from . import gguf

RESERVE_BYTES = 512 << 20
"""Left free on each device: its driver's own context, and the library's kernels."""
USABLE_SHARE = 0.95
"""Of what a device says is free: others come and go."""
ALL = -1
_BLOCK = re.compile(r"blk\.(\d+)\.")


class Device(NamedTuple):
    """Something to compute on."""

    name: str
    """llama.cpp's: `CUDA0`, `Metal`, `Vulkan1`."""
    free_bytes: int
    total_bytes: int


class Layers(NamedTuple):
    """Bytes of a model's weights by what can be put on a device alone."""

    blocks: tuple[int, ...]
    output: int
    """Norm and matrix of the logits: the token embeddings once more, where both are one tensor."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a model is put on devices."""

    n_gpu_layers: int
    """As llama.cpp counts them: the output is one of them; `ALL`."""
    n_ctx: int
    """Tokens of context: as asked, else as many as fit."""
    devices: tuple[str, ...] = ()
    """Names of those that hold layers; () is any."""
    shares: tuple[float, ...] = ()
    """What part each of them gets; () is by what is free."""
    note: str = ""
    """What an administrator should know; empty where everything is on devices."""


def read_layers(tensors: Iterable[gguf.Tensor]) -> Layers:
    """From the headers of all parts."""
    blocks: dict[int, int] = {}
    output, embedding, has_output = 0, 0, False
    for tensor in tensors:
        if match := _BLOCK.match(tensor.name):
            blocks[int(match[1])] = blocks.get(int(match[1]), 0) + tensor.n_bytes
        elif tensor.name.startswith("output"):
            output += tensor.n_bytes
            has_output = has_output or tensor.name == "output.weight"
        elif tensor.name == "token_embd.weight":
            embedding = tensor.n_bytes
    return Layers(tuple(blocks[i] for i in sorted(blocks)), output if has_output else output + embedding)


def chosen(devices: Sequence[Device], *, asked: str | None, replica: int, n_replicas: int) -> list[Device]:
    """Which of them an engine is put on: those that are `asked` for, else all; several engines of a model share them
    out. Raises `ModelLoadFailed` for one that is not there."""
    found = list(devices)
    if asked is not None:
        by_name = {device.name.lower(): device for device in devices}
        names = [name.strip() for name in asked.split(",")]
        if missing := [name for name in names if name.lower() not in by_name]:
            here = ", ".join(device.name for device in devices) or "none that llama.cpp can use"
            raise ModelLoadFailed(f"There is no device '{missing[0]}'.", hint=f"Those here: {here}.")
        found = [by_name[name.lower()] for name in dict.fromkeys(names)]
    if n_replicas <= 1 or len(found) <= 1:
        return found
    own = found[replica % n_replicas :: n_replicas]
    return own or [found[replica % len(found)]]


def read_shares(text: str | None, n_devices: int) -> tuple[float, ...]:
    """`3,1` as shares that add up to 1; () where nothing is asked. Raises `ModelLoadFailed` where they are not as many
    as there are devices."""
    if text is None or n_devices == 0:
        return ()
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) != n_devices or not sum(numbers) > 0:
        raise ModelLoadFailed(
            f"'tensor_split' is '{text}', and the model is on {n_devices} devices.",
            hint="Give each device a number, 0 for none of it: 3,1 puts three quarters on the first of two.",
        )
    return tuple(number / sum(numbers) for number in numbers)


def said_of(names: Sequence[str], shares: Sequence[float]) -> str:
    """`on CUDA0 (75 %), CUDA1 (25 %)`."""
    parts = [f" ({100 * share:.0f} %)" for share in shares] or [""] * len(names)
    return "on " + ", ".join(name + part for name, part in zip(names, parts, strict=True))


def plan(
    layers: Layers,
    devices: Sequence[Device],
    *,
    trained: int,
    n_ctx: int | None,
    token_bytes: int,
    compute_bytes: int,
    shares: Sequence[float] = (),
) -> Plan:
    """As many layers on devices as their memory holds, with the cache of a context of `n_ctx` tokens (None: as
    `unasked_context` chooses). `token_bytes`: keys and values of one token in all layers. `compute_bytes`: scratch
    memory that every device needs. `shares`: what part each gets, where not by what is free."""
    room = [max(0, int(one.free_bytes * USABLE_SHARE) - RESERVE_BYTES - compute_bytes) for one in devices]
    if shares:  # the first to be full ends it for all
        most = min(n_bytes / share for n_bytes, share in zip(room, shares, strict=True) if share)
        room = [int(most * share) for share in shares]
    weights = sum(layers.blocks) + layers.output
    unasked = unasked_context(trained=trained, token_bytes=token_bytes, free_bytes=sum(room) - weights)
    lengths = [n_ctx] if n_ctx else sorted({unasked, min(unasked, LEAST_UNASKED)}, reverse=True)
    for length in lengths:
        cache = length * token_bytes // max(1, len(layers.blocks))
        costs = [layers.output, *(block + cache for block in reversed(layers.blocks))]
        # Shares are rounded to whole layers: each device but one may get one more than its room says.
        slack = max(costs) * max(0, sum(1 for n_bytes in room if n_bytes) - 1)
        n_layers = _fitting(costs, sum(room) - slack)
        if n_layers == len(costs):
            return Plan(n_gpu_layers=ALL, n_ctx=length)
    names = ", ".join(device.name for device in devices)
    note = f"{n_layers} of {len(costs)} layers on {names}, the others on the processor: no more fit beside the cache"
    return Plan(n_gpu_layers=n_layers, n_ctx=length, note=note)


def _fitting(costs: Sequence[int], room: int) -> int:
    """How many of these, from the first one on, have room together."""
    total = 0
    for n, cost in enumerate(costs):
        total += cost
        if total > room:
            return n
    return len(costs)
