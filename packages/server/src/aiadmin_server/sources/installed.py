"""Which sources there are: ours, then what plugins add. Used by `pull`."""

from collections.abc import Sequence

from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import Source

from .local import LocalSource
from .pypi import PyPISource


def installed_sources(plugins: Plugins) -> list[Source]:
    """Every source; of two with one scheme, the first."""
    found: dict[str, Source] = {}
    ours: Sequence[Source] = (PyPISource(), LocalSource(), LocalSource(in_place=True))
    for source in (*ours, *plugins.collect("aiadmin_sources")):
        found.setdefault(source.scheme.lower(), source)
    return list(found.values())
