"""From what plugins offer by `aiadmin_apis` to the `Api`s of a server. One that cannot be had is named and left out.

Used by `app` when the server starts, and by `aiadmin plugins` and `aiadmin doctor`, which tell what would happen.
"""

from collections.abc import Iterable
from importlib import import_module

from msgspec import Struct

from aiadmin_core.plugins import HARM, Plugins, error_text

from . import Api


class Offered(Struct, frozen=True, kw_only=True):
    """An API that a plugin offers."""

    plugin: str
    name: str
    api: Api | None = None
    problem: str = ""
    """Why it is left out; "" if it is not."""


def load_apis(plugins: Plugins) -> list[Offered]:
    """Every API on offer, in the order that plugins are loaded. Never raises for a plugin's sake: what cannot be had is
    noted as its plugin's fault."""
    offers = plugins.contributions("aiadmin_apis")
    offered = without_rivals(_load(plugin, name, reference) for plugin, (name, reference) in offers)
    for plugin in dict.fromkeys(one.plugin for one in offered if one.problem):
        problems = [one.problem for one in offered if one.plugin == plugin and one.problem]
        plugins.note(plugin, "aiadmin_apis", f"gave what is left out: {'; '.join(problems)}")
    return offered


def without_rivals(offered: Iterable[Offered]) -> list[Offered]:
    """Where two claim one name or one path, the first has it and the other is left out. Pure."""
    kept: list[Offered] = []
    for one in offered:
        problem = next((text for other in kept if (text := _quarrel(other, one))), "")
        kept.append(one if one.problem or not problem else Offered(plugin=one.plugin, name=one.name, problem=problem))
    return kept


def _quarrel(first: Offered, second: Offered) -> str:
    if first.api is None or second.api is None:
        return ""
    common = [prefix for prefix in second.api.paths if prefix in first.api.paths]
    claim = f"the paths below {common[0]}" if common else "this name" if first.name == second.name else ""
    who = f"the API '{first.name}' of the plugin '{first.plugin}'"
    return f"{who} and the API '{second.name}' of the plugin '{second.plugin}' both claim {claim}" if claim else ""


def _load(plugin: str, name: str, reference: str) -> Offered:
    def left_out(why: str) -> Offered:
        return Offered(plugin=plugin, name=name, problem=f"the API '{name}': {why}")

    module, _, attribute = reference.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except HARM as error:
        return left_out(f"{reference} cannot be loaded: {error_text(error)}")
    if not isinstance(found, Api):
        return left_out(f"{reference} is {type(found).__name__}, not an Api")
    if wrong := next((prefix for prefix in found.paths if not prefix.startswith("/") or prefix.endswith("/")), None):
        return left_out(f"its path '{wrong}' must begin with a slash and not end with one")
    return Offered(plugin=plugin, name=name, api=found)
