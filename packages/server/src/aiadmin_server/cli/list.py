"""`aiadmin list`: what is in the store, and the aliases. Needs no server."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ._verb import json_option, verb

if TYPE_CHECKING:
    from aiadmin_core.specs.model import ModelSpec

    from ..store.aliases import Alias
    from ..store.store import StoredModel


@verb
@json_option
def command(as_json: bool) -> None:
    """List the models and aliases of this machine."""
    from ..routing.resolver import Resolver
    from ..settings import load_settings
    from ..store.aliases import Aliases
    from ..store.store import ModelStore
    from ._output import print_json, remark, table
    from ._plugins import installed_plugins

    settings = load_settings()
    store = ModelStore(settings.models)
    kept = Aliases(store.aliases_path)
    models, aliases = store.models(), kept.all()
    resolver = Resolver(store, kept, installed_plugins(), settings)
    if problem := kept.problem():
        remark(f"Not all aliases are listed: {problem}.")
    offered = resolver.offered()
    served = {model.name for model in models if resolver.refusal(model.name) is None}
    if as_json:
        stored = [model_record(model) | {"served": model.name in served} for model in models]
        records = [*stored, *map(offer_record, offered)]
        print_json([*records, *(alias_record(name, alias) for name, alias in aliases.items())])
        return
    if not models and not offered and not aliases:
        remark("There are no models yet. `aiadmin pull smollm2` fetches a small one.")
        return
    now = datetime.now(UTC)
    rows = [*(_model_row(model, now, served=model.name in served) for model in models), *map(_offer_row, offered)]
    table(("NAME", "ID", "SIZE", "FORMAT", "MODIFIED"), [*rows, *(_alias_row(*item) for item in aliases.items())])


def short_id(digest: str) -> str:
    """The first 12 hex digits of `sha256:<hex>`."""
    return digest.removeprefix("sha256:")[:12]


def model_record(model: "StoredModel") -> dict[str, Any]:
    """A model as `--json` has it."""
    return {
        "name": model.name,
        "digest": model.digest,
        "size": model.size,
        "format": model.format,
        "modified_at": datetime.fromtimestamp(model.modified_at, UTC),
        "origin": model.origin,
        "info": model.info,
    }


def offer_record(model: "ModelSpec") -> dict[str, Any]:
    """A model that a backend offers without files in the store, as `--json` has it."""
    return {"name": model.name, "digest": model.digest, "format": model.format}


def alias_record(name: str, alias: "Alias") -> dict[str, Any]:
    """An alias as `--json` has it: its settings where a model has its files."""
    import msgspec

    return {"name": name, "alias": msgspec.to_builtins(alias)}


def _model_row(model: "StoredModel", now: datetime, *, served: bool) -> tuple[str, ...]:
    from ._output import ago, size

    modified = ago(datetime.fromtimestamp(model.modified_at, UTC), now)
    shown = model.format if served else f"{model.format}, no backend"
    return model.name, short_id(model.digest), size(model.size), shown, modified


def _offer_row(model: "ModelSpec") -> tuple[str, ...]:
    return model.name, "", "", model.format, ""


def _alias_row(name: str, alias: "Alias") -> tuple[str, ...]:
    return name, "", "", "alias", f"-> {' or '.join(alias.targets)}"
