"""Names as the server will resolve them, for verbs that change the store: what a backend offers has no files there.

Used by `cp`, `rm` and `alias`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from aiadmin_core.errors import BadRequest, ModelNotFound

from ..routing.resolver import Resolver
from ..settings import Settings
from ..store.aliases import Aliases
from ..store.store import ModelStore
from ._plugins import installed_plugins


def resolver_of(store: ModelStore, settings: Settings) -> Resolver:
    """What looks names up in this store and with this machine's plugins."""
    return Resolver(store, Aliases(store.aliases_path), installed_plugins(), settings)


@contextmanager
def files_needed(name: str, store: ModelStore, settings: Settings, *, new_name: str = "NEW") -> Iterator[None]:
    """Raises `BadRequest` in the place of `ModelNotFound` for a `name` that a backend offers, and for others, which are
    no alias either, `ModelNotFound` with what to do about it."""
    try:
        yield
    except ModelNotFound:
        resolver = resolver_of(store, settings)
        backend = resolver.offering(name)
        if backend is None:
            if Aliases(store.aliases_path).get(name) is None:
                resolver.find(name)
            raise
        raise BadRequest(
            f"'{name}' is offered by the backend {backend} and has no files here.",
            hint=f"`aiadmin alias set {new_name} {name}` gives it another name.",
        ) from None
