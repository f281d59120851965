"""Sending a model to a registry: the layers it lacks, then the manifest. Used by `push`.

A push that broke off goes on with the layer it broke off in: registries keep whole layers, and of parts they lose count
when a connection breaks (Docker's answers 400 to whoever wants to go on).
"""

from collections.abc import Callable
from pathlib import Path

import httpx

from aiadmin_core.errors import PullFailed, PushFailed, StoreError
from aiadmin_core.sources import Progress

from ...store.manifest import Layer
from ...store.packing import Packed
from ..downloading import chunks_of
from .client import RegistryClient

N_TRIES = 3
"""Of one layer."""


def send(client: RegistryClient, packed: Packed, progress: Callable[[Progress], None]) -> None:
    """Push all that the registry lacks. Blocking. Raises `PushFailed`, `StoreError` for a file that is missing."""
    try:
        for layer, path in packed.layers:
            _send_layer(client, layer, path, progress)
        progress(Progress(status="pushing manifest"))
        client.put_manifest(packed.manifest, packed.media_type)
    except PullFailed as failure:  # the client's word for whatever a registry refuses
        raise PushFailed(failure.message, hint=failure.hint) from failure


def _send_layer(client: RegistryClient, layer: Layer, path: Path, progress: Callable[[Progress], None]) -> None:
    size = _size_of(path)
    status = f"pushing {layer.digest.removeprefix('sha256:')[:12]}"

    def report(n_sent: int) -> None:
        progress(Progress(status=status, completed=n_sent, total=size, digest=layer.digest))

    if not client.has(layer.digest):
        for n_failed in range(1, N_TRIES + 1):
            try:
                client.upload(layer.digest, size, lambda: chunks_of(path, report))
                break
            except PullFailed as failure:
                if n_failed == N_TRIES or not isinstance(failure.__cause__, httpx.TransportError):
                    raise
    report(size)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StoreError(
            f"The file '{path}' of the model cannot be read ({error.strerror}).",
            hint="`aiadmin doctor --verify` says how to repair it.",
        ) from error
