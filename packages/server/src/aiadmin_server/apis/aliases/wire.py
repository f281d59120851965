"""Requests and replies of `/api/aliases`."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.errors import AiAdminError
from aiadmin_core.specs.request import NamedAdapter

from ...routing.resolver import Resolver
from ...store.aliases import Alias


class AliasRequest(Struct, frozen=True, kw_only=True):
    """What a name is to stand for, and how that is to be served."""

    target: str
    """A model, another alias, or either behind a backend's name (`llamacpp/smollm2`)."""
    fallbacks: list[str] = []
    """Asked in this order where the target is missing, cannot be loaded or is full."""
    backend: str | None = None
    """The backend that must serve it."""
    keep_alive: str | float | None = None
    """Seconds, or a text such as `10m`; negative is forever."""
    system: str | None = None
    """A system message for conversations that have none."""
    lora: list[NamedAdapter] | None = None
    """Adapters to apply, by the models that were made with them, instead of the model's own."""
    parameters: dict[str, Any] = {}
    """Defaults for sampling and loading, by the names that requests have for them: `temperature`, `num_ctx`."""
    missing_ok: bool = False
    """Take the alias also where what it stands for is not here yet."""


class AliasRecord(Struct, frozen=True, kw_only=True):
    """An alias, and where it leads now."""

    name: str
    target: str
    fallbacks: list[str]
    backend: str | None
    keep_alive: str | float | None
    system: str | None
    lora: list[NamedAdapter] | None
    parameters: dict[str, Any]
    resolved: str | UnsetType = UNSET
    """The model behind it."""
    problem: str | UnsetType = UNSET
    """Why there is none."""


class AliasList(Struct, frozen=True, kw_only=True):
    aliases: list[AliasRecord]
    problem: str | UnsetType = UNSET
    """What of the stored aliases cannot be read."""


def record_of(resolver: Resolver, name: str, alias: Alias) -> AliasRecord:
    """Reads the disk."""
    resolved: str | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    try:
        resolved = resolver.explain(name).resolved
    except AiAdminError as error:
        problem = str(error)
    return AliasRecord(
        name=name,
        target=alias.target,
        fallbacks=list(alias.fallbacks),
        backend=alias.backend,
        keep_alive=alias.keep_alive,
        system=alias.system,
        lora=None if alias.lora is None else list(alias.lora),
        parameters=alias.parameters,
        resolved=resolved,
        problem=problem,
    )
