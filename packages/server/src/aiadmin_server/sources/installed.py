"""Which sources there are. Itself a built-in plugin, which offers ours. Used by `pull`."""

from collections.abc import Sequence

from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import Source


@hookimpl
def aiadmin_sources() -> Sequence[Source]:
    from .local import LocalSource  # every command loads this plugin, few of them pull
    from .pypi import PyPISource

    return [PyPISource(), LocalSource(), LocalSource(in_place=True)]


def installed_sources(plugins: Plugins) -> list[Source]:
    """Every source, ours before other plugins'; of two with one scheme, the first."""
    found: dict[str, Source] = {}
    for source in plugins.collect("aiadmin_sources"):
        found.setdefault(source.scheme.lower(), source)
    return list(found.values())
