"""`push`: from a model in the store to a registry. Used by the command line and `/api/push`."""

from collections.abc import Callable

from aiadmin_core.errors import BadRequest, ModelNotFound
from aiadmin_core.sources import Caller, Progress

from .sources.registry.location import Location, locate
from .sources.registry.pushing import send
from .sources.registry.source import RegistryAccess
from .store.store import ModelStore


def push(
    name: str,
    *,
    store: ModelStore,
    access: RegistryAccess,
    progress: Callable[[Progress], None],
    destination: str = "",
    caller: Caller = Caller(),
) -> None:
    """Send the model `name` to the registry in its name, or to `destination`. Blocking.

    May be interrupted at any point: the model is there once all of it is, and the next push sends only the
    layers that the registry lacks. Raises `ModelNotFound`, `InvalidName`, `BadRequest`, `NotAllowed`, `PushFailed`,
    `StoreError`.
    """
    location = check(name, store=store, access=access, destination=destination, caller=caller)
    progress(Progress(status="retrieving manifest"))
    packed = store.packed(name)
    client = access.connect(location, caller)
    try:
        send(client, packed, progress)
    finally:
        client.close()
    progress(Progress(status="success"))


def check(
    name: str, *, store: ModelStore, access: RegistryAccess, destination: str = "", caller: Caller = Caller()
) -> Location:
    """Where the model would go. Raises what can be known to be wrong before the registry is asked."""
    location = locate(destination or name, access.default, caller)
    model = store.find(name)
    if model is None:
        raise ModelNotFound(name, hint="`aiadmin list` shows the models that are here.")
    if model.format == "remote":
        raise BadRequest(
            f"'{model.name}' is served elsewhere: there is nothing of it here to push.",
            hint="Give others the reference that it was pulled by.",
            param="model",
        )
    return location
