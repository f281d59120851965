"""Pulling as the verbs do it: straight into the store, with progress, and a word on what an interruption leaves.

Used by `pull`, and by `run` for a model of the catalogue.
"""

from aiadmin_core.sources import Caller, CatalogueEntry

from ..forecast import Forecast
from ..settings import Settings
from ..store.store import StoredModel
from ._output import remark, size
from ._progress import shown_progress

LARGE_BYTES = 2 * 10**9
"""From so much on a download is no small matter: minutes on most lines."""


def in_catalogue(name: str) -> CatalogueEntry | None:
    """What the catalogue has under a name."""
    from ..catalogue import catalogue, find_entry
    from ._plugins import installed_plugins

    return find_entry(catalogue(installed_plugins()), name)


def fetch(
    reference: str,
    settings: Settings,
    *,
    name: str | None = None,
    replace: bool = False,
    insecure: bool = False,
    expected_digest: str = "",
    ask: bool = False,
) -> StoredModel:
    """Pull `reference` into the store. `ask`: a large model is not fetched before somebody has said so. Raises
    `AiAdminError`, and `click.Abort` where they do not; Ctrl-C is passed on after saying how to go on."""
    from ..pull import pull
    from ..routing.estimate import estimate_spec
    from ..store.store import ModelStore
    from ._plugins import installed_plugins

    store, plugins = ModelStore(settings.models), installed_plugins()
    try:
        with shown_progress() as report:
            return pull(
                reference,
                name=name,
                store=store,
                plugins=plugins,
                progress=report,
                replace=replace,
                caller=Caller(insecure=insecure),
                expected_digest=expected_digest,
                foresee=_ask if ask else _say,
                estimate=lambda spec: estimate_spec(spec, plugins, settings),
            )
    except KeyboardInterrupt:
        remark("Stopped. The same command goes on from here; what was fetched is kept.")
        raise


def memory_of(name: str, settings: Settings) -> str:
    """What a model that is here will take, as the backend says that is to serve it; "" where none is."""
    from ..routing.estimate import estimate_of, sentence
    from ..routing.resolver import Resolver
    from ..store.aliases import Aliases
    from ..store.store import ModelStore
    from ._plugins import installed_plugins

    store, plugins = ModelStore(settings.models), installed_plugins()
    found = estimate_of(name, Resolver(store, Aliases(store.aliases_path), plugins, settings), plugins)
    return sentence(found) if found else ""


def _say(found: Forecast) -> None:
    for line in lines_of(found):
        remark(line)


def _ask(found: Forecast) -> None:
    import click

    _say(found)
    if is_large(found):
        click.confirm("Fetch it?", default=found.fits, abort=True, err=True)


def is_large(found: Forecast) -> bool:
    """Whether it is not to be fetched by surprise."""
    return found.download_bytes >= LARGE_BYTES or (found.download_bytes > 0 and not found.fits)


def lines_of(found: Forecast) -> list[str]:
    """What a pull will take, for people. Pure."""
    lines = []
    if found.download_bytes:
        free = f"; {size(found.free_bytes)} are free on the disk" if found.free_bytes else ""
        lines.append(f"{found.name or 'The model'}: {size(found.download_bytes)} to fetch{free}.")
    if found.needed_bytes and found.memory_bytes:
        about = "about" if found.is_known else "at least"
        of = f"{about} {size(found.needed_bytes)} of this machine's {size(found.memory_bytes)} of memory"
        lines.append(
            f"It takes {of}."
            if found.fits
            else f"It does not fit: it takes {of}. A smaller model, or a smaller quantization of it, may."
        )
    return lines
