"""Which sources there are. Itself a built-in plugin, which offers ours. Used by `pull`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import OfferingSource, Source

if TYPE_CHECKING:
    from .registry.source import RegistryAccess


@hookimpl
def aiadmin_sources() -> Sequence[Source | OfferingSource]:
    from .huggingface.source import HuggingFaceSource
    from .local import LocalSource  # every command loads this plugin, few of them pull
    from .modelscope import ModelScopeSource
    from .pypi import PyPISource
    from .registry.source import RegistrySource
    from .web import WebSource

    return [
        PyPISource(),
        LocalSource(),
        LocalSource(in_place=True),
        HuggingFaceSource(),
        ModelScopeSource(),
        WebSource("https"),
        WebSource("http"),
        RegistrySource(registry_access),
    ]


def registry_access() -> "RegistryAccess":
    """As this machine is set up."""
    from ..settings import load_settings
    from .registry.source import RegistryAccess

    settings = load_settings()
    return RegistryAccess(settings.registry, settings.registry_credentials)


def installed_sources(plugins: Plugins) -> list[Source | OfferingSource]:
    """Every source, ours before other plugins', but the registry, which claims all that may be a name, after them; of
    two with one scheme, the first."""
    found: dict[str, Source | OfferingSource] = {}
    for source in plugins.collect("aiadmin_sources"):
        found.setdefault(source.scheme.lower(), source)
    if (last := found.pop("registry", None)) is not None:
        found["registry"] = last
    return list(found.values())
