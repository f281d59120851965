"""Pulling as the verbs do it: straight into the store, with progress, and a word on what an interruption leaves.

Used by `pull`, and by `run` for a model of the catalogue.
"""

from aiadmin_core.sources import CatalogueEntry

from ..settings import Settings
from ..store.store import StoredModel
from ._output import remark
from ._progress import shown_progress


def in_catalogue(name: str) -> CatalogueEntry | None:
    """What the catalogue has under a name."""
    from ..catalogue import catalogue, find_entry
    from ._plugins import installed_plugins

    return find_entry(catalogue(installed_plugins()), name)


def fetch(reference: str, settings: Settings, *, name: str | None = None, replace: bool = False) -> StoredModel:
    """Pull `reference` into the store. Raises `AiAdminError`; Ctrl-C is passed on after saying how to go on."""
    from ..pull import pull
    from ..store.store import ModelStore
    from ._plugins import installed_plugins

    store = ModelStore(settings.models)
    try:
        with shown_progress() as report:
            return pull(
                reference, name=name, store=store, plugins=installed_plugins(), progress=report, replace=replace
            )
    except KeyboardInterrupt:
        remark("Stopped. The same command goes on from here; what was fetched is kept.")
        raise
