"""Where a model's layers go, and how long its context is: `offload.plan` and `memory.Shape` with what this machine has.
Called by `opening`."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from aiadmin_core.memory import machine_memory
from aiadmin_core.specs.model import EngineOptions

from ..memory import header_of, read_shape
from ..native.devices import find_devices
from ..offload import Plan, plan, read_layers


def place(paths: Sequence[str], options: EngineOptions) -> Plan:
    """What of the model goes to devices, where there are any, and how long its context is unless a length is asked."""
    headers = [header_of(Path(path)) for path in paths]
    devices = find_devices() if options.n_gpu_layers != 0 else []
    if not devices:
        machine = machine_memory()
        n_ctx = read_shape(headers[0], options).context(
            options,
            weights_bytes=sum(Path(path).stat().st_size for path in paths),
            available_bytes=None if machine is None else machine.available,
        )
        return Plan(n_gpu_layers=0, n_ctx=n_ctx)
    shape = read_shape(headers[0], replace(options, kv_cache_type=options.kv_cache_type or "f16"))
    planned = plan(
        read_layers([tensor for header in headers for tensor in header.tensors]),
        devices,
        trained=shape.trained,
        n_ctx=options.n_ctx,
        token_bytes=shape.token_bytes,
        compute_bytes=shape.compute_bytes,
    )
    if options.n_gpu_layers is None:
        return planned
    return Plan(n_gpu_layers=options.n_gpu_layers, n_ctx=planned.n_ctx)
