"""The catalogue: short names for models that can be pulled. A built-in plugin, which offers ours and the user's."""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from aiadmin_core.errors import AiAdminError, InvalidName
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import CatalogueEntry

from ..store.names import parse_name, same_name

LOG = logging.getLogger("aiadmin.server")


@hookimpl
def aiadmin_catalogue() -> Sequence[CatalogueEntry]:
    """The user's go before ours."""
    return [*own_entries(), *built_in()]


@cache
def built_in() -> tuple[CatalogueEntry, ...]:
    from .reading import read_catalogue  # TOML is for who asks

    return read_catalogue(Path(__file__).with_name("builtin.toml").read_bytes()).entries()


def own_entries() -> tuple[CatalogueEntry, ...]:
    """Those of the user's file; none, and a word in the log, where it cannot be read."""
    from ..settings import load_settings
    from .reading import read_catalogue

    try:
        settings = load_settings()
        path = settings.catalogue or settings.state / "catalogue.toml"
        return read_catalogue(path.read_bytes()).entries()
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        LOG.warning("The catalogue in '%s' cannot be read: %s. Correct it; its models are left out.", path, error)
    except AiAdminError:  # of a setting, which whoever uses it is told
        pass
    return ()


def catalogue(plugins: Plugins) -> list[CatalogueEntry]:
    """Every entry, the user's and ours before other plugins'; of two with one name, the first."""
    entries: dict[tuple[str, ...], CatalogueEntry] = {}
    for entry in plugins.collect("aiadmin_catalogue"):
        try:
            key = parse_name(entry.name).key
        except InvalidName:
            key = (entry.name,)
        entries.setdefault(key, entry)
    return list(entries.values())


def find_entry(entries: Sequence[CatalogueEntry], name: str) -> CatalogueEntry | None:
    """The entry of this name, in whatever case it is written; None for texts that are no names."""
    try:
        parse_name(name)
    except InvalidName:
        return None
    return next((entry for entry in entries if same_name(entry.name, name)), None)


def matching(entries: Sequence[CatalogueEntry], words: Sequence[str]) -> list[CatalogueEntry]:
    """Entries that have all `words`, in their name or their summary. Pure."""
    return [
        entry for entry in entries if all(word.lower() in f"{entry.name} {entry.summary}".lower() for word in words)
    ]
