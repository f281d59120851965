"""Making an alias: what must hold before a name stands for a model. Used by `aiadmin alias` and by `/api/aliases`."""

from collections.abc import Mapping

from aiadmin_core.errors import BadRequest

from ..store.aliases import Alias
from ..store.patterns import is_pattern
from .choice import BACKEND_PACKAGES
from .defaults import nearest
from .resolver import Resolver


def set_alias(resolver: Resolver, name: str, alias: Alias, *, missing_ok: bool = False) -> None:
    """Let `name` stand for what `alias` says, from the next request on. Reads and writes the disk.

    Raises `InvalidName`, `StoreError`, and `BadRequest` where it would hide behind a model, lead back to itself or,
    unless `missing_ok`, to something that is not here.
    """

    def check(aliases: Mapping[str, Alias]) -> None:
        for _ in resolver.searches(name, aliases, strict=True):
            pass  # raises where it leads back
        if not missing_ok:
            for target in alias.targets:
                _require(resolver, target, aliases)

    _refuse_hidden(resolver, name)
    resolver.aliases.set(name, alias, check)


def known_backend(resolver: Resolver, name: str) -> str:
    """The backend's name as it writes it itself. Raises `BadRequest` for what nobody calls a backend."""
    known = sorted({*resolver.backends(), *BACKEND_PACKAGES})
    found = next((backend for backend in known if backend.lower() == name.lower()), None)
    if found is None:
        raise BadRequest(f"There is no backend '{name}'.", hint=nearest(name.lower(), known), param="backend")
    return found


def _refuse_hidden(resolver: Resolver, name: str) -> None:
    """A model goes before an alias of its name: the alias would have no effect."""
    if is_pattern(name):
        return
    model = resolver.store.find(name)
    if model is not None:
        raise BadRequest(
            f"There is a model '{model.name}', which goes before an alias of that name.",
            hint=f"Choose another name, or remove the model first: `aiadmin rm {model.name}`.",
            param="name",
        )
    if backend := resolver.offering(name):
        raise BadRequest(
            f"'{name}' is a model of the backend {backend}, which goes before an alias of that name.",
            hint="Choose another name.",
            param="name",
        )


def _require(resolver: Resolver, target: str, aliases: Mapping[str, Alias]) -> None:
    searches = list(resolver.searches(target, aliases))
    if not any(search.found is not None for search in searches):
        missing = resolver.not_found(searches[0])
        raise BadRequest(
            f"There is no model '{target}' that the alias could stand for.",
            hint=f"{missing.hint} With `--missing-ok` (over HTTP `missing_ok`) the alias is made anyway.",
            param="target",
        )
