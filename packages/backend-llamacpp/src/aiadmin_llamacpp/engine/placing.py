"""Where a model's layers go, and how long its context is: `offload.plan` and `memory.Shape` with what this machine has.
Called by `opening`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from aiadmin_core.memory import machine_memory
from aiadmin_core.specs.model import EngineOptions

from ..memory import header_of, read_shape
from ..native.devices import find_devices
from ..offload import Plan, chosen, plan, read_layers, read_shares, said_of


def place(paths: Sequence[str], options: EngineOptions) -> Plan:
    """What of the model goes to devices, where there are any, and how long its context is unless a length is asked."""
    headers = [header_of(Path(path)) for path in paths]
    all_devices = find_devices() if options.n_gpu_layers != 0 else []
    devices = chosen(
        all_devices,
        asked=options.devices if options.n_gpu_layers != 0 else None,
        replica=options.replica,
        n_replicas=options.n_replicas or 1,
    )
    shares = read_shares(options.tensor_split, len(devices))
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
        shares=shares,
    )
    names = tuple(device.name for device in devices)
    if options.n_gpu_layers is not None:
        planned = dataclasses.replace(planned, n_gpu_layers=options.n_gpu_layers, note="")
    if len(names) < len(all_devices) or shares:
        notes = filter(None, [planned.note, said_of(names, shares)])
        planned = dataclasses.replace(planned, note="; ".join(notes))
    return dataclasses.replace(planned, devices=names, shares=shares)
