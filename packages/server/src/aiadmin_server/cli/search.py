"""`aiadmin search`: what can be pulled. Needs no server."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from ._verb import json_option, verb

if TYPE_CHECKING:
    from aiadmin_core.sources import CatalogueEntry

    from ..sources.searching import Hit


@verb
@click.argument("words", nargs=-1)
@click.option("--catalogue", "only_catalogue", is_flag=True, help="Ask nobody on the network.")
@json_option
def command(words: tuple[str, ...], only_catalogue: bool, as_json: bool) -> None:
    """Look for models to pull.

    In the catalogue (all of it without WORDS), in Hugging Face's hub, and in the default registry if that lists what it
    has. `aiadmin pull` takes any of the names.
    """
    from ..catalogue import catalogue, matching
    from ._output import print_json, remark, table
    from ._plugins import installed_plugins

    entries = matching(catalogue(installed_plugins()), words)
    hits = list(_elsewhere(words)) if words and not only_catalogue else []
    if as_json:
        print_json([*map(entry_record, entries), *map(hit_record, hits)])
        return
    if not entries and not hits:
        remark(f"Nothing has {' '.join(words)} in its name. Any GGUF file or repository of a hub can be pulled anyway.")
        return
    table(("NAME", "SIZE", "WHAT IT IS"), [*map(_entry_row, entries), *((hit.name, "", hit.summary) for hit in hits)])


def entry_record(entry: "CatalogueEntry") -> dict[str, Any]:
    """An entry of the catalogue as `--json` has it."""
    return {
        "name": entry.name,
        "source": "catalogue",
        "reference": entry.reference,
        "size": entry.size,
        "license": entry.license,
        "summary": entry.summary,
        "homepage": entry.homepage,
    }


def hit_record(hit: "Hit") -> dict[str, Any]:
    """What was found elsewhere as `--json` has it."""
    return {"name": hit.name, "source": "hub" if hit.name.startswith("hf.co/") else "registry", "summary": hit.summary}


def _elsewhere(words: tuple[str, ...]) -> Iterator["Hit"]:
    """What others have; one that cannot be asked is named."""
    from aiadmin_core.errors import AiAdminError

    from ..sources.installed import registry_access
    from ..sources.searching import search_hub, search_registry
    from ._output import remark

    searches: tuple[Callable[[], list[Hit]], ...] = (
        lambda: search_registry(words, registry_access()),
        lambda: search_hub(words),
    )
    for search in searches:
        try:
            yield from search()
        except AiAdminError as error:
            remark(f"Not everything was searched: {error.message}")


def _entry_row(entry: "CatalogueEntry") -> tuple[str, ...]:
    from ._output import size

    about = "" if entry.digest else "about "
    return entry.name, f"{about}{size(entry.size)}" if entry.size else "", f"{entry.summary} ({entry.license})"
