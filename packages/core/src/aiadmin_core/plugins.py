"""Which plugins are installed, and the one place that loads them. Used by the server, the command line and runners.

A plugin that cannot be imported, or is of another API version, is kept as a `Plugin` with its error; what a hook of one
does wrong (it raises, or gives what its protocol does not allow) costs that call alone, and is noted. Neither stops the
others. The exception are guards: without a plugin that may decide who comes in, a server must not start.
"""

import inspect
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata, util
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from . import hookspecs
from .backend import API_VERSION, Backend
from .contracts import complaint
from .errors import PluginError

SELECTION_VARIABLE = "AIADMIN_PLUGINS"
GUARDS_GROUP = "aiadmin.guards"
"""Entry points of this group name plugins (as they are named in the group `aiadmin`) that a server does not start
without."""
GUARD_HOOKS = ("aiadmin_authenticate", "aiadmin_http_middleware")
"""What decides who comes in."""
DIALECTS_HOOK = "aiadmin_dialects"
"""What runners ask plugins for."""
OFFERS = {
    "aiadmin_backends": list,
    "aiadmin_sources": list,
    "aiadmin_catalogue": list,
    "aiadmin_dialects": list,
    "aiadmin_apis": dict,
    "aiadmin_http_routes": list,
    "aiadmin_http_middleware": list,
    "aiadmin_cli_commands": dict,
    "aiadmin_doctor_checks": list,
}
"""The hooks that take nothing and give a sequence or a mapping."""
HARM = (Exception, SystemExit)
"""What a plugin's code may raise: `sys.exit` in a hook must not end the program that calls it."""

_MEND = (
    f"Mend it; or, if everybody may come in, leave it out: {SELECTION_VARIABLE}=-{{name}}, "
    f"or the others in {SELECTION_VARIABLE}."
)

LOG = logging.getLogger("aiadmin.plugins")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """`AIADMIN_PLUGINS`, parsed: `echo,mlx` loads only those, in this order; `-mlx` leaves one out."""

    only: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Selection":
        words = [word.strip() for word in text.split(",") if word.strip()]
        return cls(
            only=tuple(word for word in words if not word.startswith("-")),
            without=frozenset(word[1:].strip() for word in words if word.startswith("-")),
        )

    def order(self, names: Iterable[str]) -> list[str]:
        """The names to load, first to last."""
        chosen = [name for name in self.only if name in set(names)] if self.only else sorted(names)
        return [name for name in chosen if name not in self.without]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One entry point of the group `aiadmin`, or a built-in module."""

    name: str
    target: str
    distribution: str = ""
    version: str = ""
    builtin: bool = False
    module: Any = None
    hooks: tuple[str, ...] = ()
    error: str = ""
    """Why it is not in use; "" if it is."""
    faults: tuple[str, ...] = ()
    """What its hooks did wrong when they were last called, each beginning with the hook's name. It is in use."""
    guards: bool = False
    """Whether it decides who comes in: it implements such a hook, says so, or cannot be loaded and might."""

    @property
    def trouble(self) -> str:
        """What is wrong with it, in one line; "" if nothing is known to be."""
        return self.error or "; ".join(self.faults)


@dataclass(kw_only=True)
class Plugins:
    """The plugins of this process. `hook` calls them; `backends` is what they offer."""

    manager: pluggy.PluginManager
    installed: list[Plugin] = field(default_factory=list)
    found: frozenset[str] = frozenset()
    """Names of all plugins that could have been loaded then."""
    selection: Selection = Selection()
    """Which of them were to be."""

    def installed_since(self) -> list[str]:
        """Names of plugins that were not here when these were loaded: only a process that starts now has them."""
        return [name for name in self.selection.order(_entry_points()) if name not in self.found]

    @property
    def hook(self) -> Any:
        return self.manager.hook

    @property
    def broken(self) -> list[Plugin]:
        """Those with something wrong: not in use, or with hooks that were called and failed."""
        return [plugin for plugin in self.installed if plugin.trouble]

    def collect(self, hook_name: str) -> list[Any]:
        """Call a hook that gives sequences, plugin by plugin, first loaded first: one flat list. An implementation
        that raises contributes nothing to this call, a value that its protocol does not allow is left out; both are
        noted as the plugin's faults."""
        return [value for _, value in self.contributions(hook_name)]

    def contributions(self, hook_name: str) -> list[tuple[str, Any]]:
        """The same, each value after the name of its plugin."""
        return [(plugin.name, value) for plugin in self._with(hook_name) for value in self._ask(plugin, hook_name)]

    def merge(self, hook_name: str) -> dict[str, Any]:
        """Call a hook that gives mappings, as `collect` does: one dict. A key belongs to the first plugin that has
        it."""
        merged: dict[str, Any] = {}
        for _, (key, value) in self.contributions(hook_name):
            merged.setdefault(key, value)
        return merged

    def backends(self) -> dict[str, Backend]:
        """Backends by name; the first plugin to offer a name has it."""
        return {name: backend for name, (_, backend) in self.offers().items()}

    def offers(self) -> dict[str, tuple[str, Backend]]:
        """The same, each after the name of its plugin: what a runner is told to load."""
        found: dict[str, tuple[str, Backend]] = {}
        for plugin, backend in self.contributions("aiadmin_backends"):
            found.setdefault(backend.name, (plugin, backend))
        return found

    def with_dialects(self) -> tuple[str, ...]:
        """Names of the installed plugins that have dialects to offer, in order: all that a runner has to import
        beside its backend's. Built-in ones are not among them."""
        return tuple(
            plugin.name
            for plugin in self.installed
            if not plugin.error and not plugin.builtin and DIALECTS_HOOK in plugin.hooks
        )

    def examine(self) -> None:
        """Call every hook that only offers things, so that `installed` tells what is wrong with each plugin."""
        for hook_name in OFFERS:
            self.contributions(hook_name)

    def require_guards(self) -> None:
        """Raise `PluginError` where a plugin that decides who comes in, or may do so, is not in use."""
        for plugin in self.installed:
            if plugin.guards and plugin.error:
                raise PluginError(
                    f"The plugin '{plugin.name}' may guard this server and is not in use: {plugin.error}.",
                    hint=_MEND.format(name=plugin.name),
                )

    def require(self, hook_name: str) -> None:
        """Raise `PluginError` where a plugin's `hook_name` did something wrong when it was last called."""
        for plugin in self.installed:
            for fault in plugin.faults:
                if fault.partition(" ")[0] == hook_name:
                    raise PluginError(
                        f"The plugin '{plugin.name}' may guard this server and cannot be used: {fault}.",
                        hint=_MEND.format(name=plugin.name),
                    )

    def note(self, name: str, hook_name: str, fault: str = "") -> None:
        """Keep what `hook_name` of the plugin `name` did wrong in its last call, or that it did nothing wrong. A new
        fault is logged."""
        index = next(index for index, plugin in enumerate(self.installed) if plugin.name == name)
        plugin = self.installed[index]
        others = tuple(text for text in plugin.faults if text.partition(" ")[0] != hook_name)
        text = " ".join(f"{hook_name} {fault}".split()) if fault else ""
        if text and text not in plugin.faults:
            LOG.warning("The plugin %s: %s.", name, text.rstrip("."))
        self.installed[index] = replace(plugin, faults=(*others, text) if text else others)

    def _with(self, hook_name: str) -> list[Plugin]:
        return [plugin for plugin in self.installed if not plugin.error and hook_name in plugin.hooks]

    def _ask(self, plugin: Plugin, hook_name: str) -> list[Any]:
        """The values that one plugin gives for a hook, those of a mapping as pairs, without those that are wrong."""
        wrong: list[str] = []
        sound: list[Any] = []
        kind = OFFERS.get(hook_name, list)
        try:
            given = getattr(plugin.module, hook_name)()
            if isinstance(given, str) or (kind is dict) != isinstance(given, Mapping):
                raise TypeError(f"{type(given).__name__} is no {'mapping' if kind is dict else 'sequence'}")
            for value in given.items() if kind is dict else given:
                if fault := complaint(hook_name, value):
                    wrong.append(fault)
                else:
                    sound.append(value)
        except HARM as error:
            self.note(plugin.name, hook_name, f"raised {error_text(error)}")
        else:
            self.note(plugin.name, hook_name, f"gave {', and '.join(wrong)}" if wrong else "")
        return sound


def load_plugins(
    *, builtin: Sequence[tuple[str, Any]] = (), only: Sequence[str] | None = None, chosen: str | None = None
) -> Plugins:
    """Load the installed plugins, after `builtin` ones (name, module).

    `only` names the plugins to load, as a runner does; otherwise `chosen`, written like `AIADMIN_PLUGINS`, chooses, and
    without it that variable. Never raises for a plugin's sake: see `Plugins.require_guards`.
    """
    selection = Selection.parse(os.environ.get(SELECTION_VARIABLE, "") if chosen is None else chosen)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager=manager, selection=selection)
    for name, module in builtin:
        plugins.installed.append(_register(manager, Plugin(name=name, target=_target(module), builtin=True), module))
    found = _entry_points()
    plugins.found = frozenset(found)
    if only is None:
        names, asked_for = selection.order(found), selection.only
        plugins.installed += [_missing(name) for name in sorted(set(asked_for) - set(found))]
    else:
        names, asked_for = [name for name in only if name in found], ()
    guards = {entry.name for entry in metadata.entry_points(group=GUARDS_GROUP)}
    # pluggy calls last registered first: register in reverse, so that "first loaded" also answers first.
    loaded = {name: _load(manager, found[name], guards=name in guards or name in asked_for) for name in reversed(names)}
    plugins.installed.extend(loaded[name] for name in names)
    return plugins


def _entry_points() -> dict[str, list[metadata.EntryPoint]]:
    """Those of our group by name: one each, unless packages contend for a name."""
    found: dict[str, list[metadata.EntryPoint]] = {}
    for entry in metadata.entry_points(group=hookspecs.PROJECT):
        found.setdefault(entry.name, []).append(entry)
    return found


def _missing(name: str) -> Plugin:
    """Whoever names a plugin may rely on it to guard the server."""
    return Plugin(name=name, target="", error=f"named in {SELECTION_VARIABLE} and not installed", guards=True)


def _load(manager: pluggy.PluginManager, entries: Sequence[metadata.EntryPoint], *, guards: bool) -> Plugin:
    """Import and register the plugin of a name. `guards`: it is one even if it does not come as far as its hooks."""
    entry = entries[0]
    distribution = entry.dist
    plugin = Plugin(
        name=entry.name,
        target=entry.value,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
        guards=guards,
    )
    if len(entries) > 1:
        packages = " and ".join(sorted(entry.dist.name for entry in entries if entry.dist))
        may_guard = guards or any(map(_mentions_guards, entries))
        return replace(plugin, error=f"{packages} both have a plugin of this name: uninstall one", guards=may_guard)
    try:
        module = entry.load()
    except BaseException as error:  # an import may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        return replace(
            plugin, error=f"cannot be imported: {error_text(error)}", guards=guards or _mentions_guards(entry)
        )
    return _register(manager, plugin, module)


def _mentions_guards(entry: metadata.EntryPoint) -> bool:
    """Whether the source of a module, which may not be importable, has the name of a hook that guards. A comment is
    enough: a server that does not start is mended, one that lets everybody in is not noticed."""
    try:
        spec = util.find_spec(entry.module)
        source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    except HARM:  # its package cannot be imported, or is not there: a module beside it would not load either
        source = b"".join(map(_source, entry.dist.files or ())) if entry.dist else b""
    return any(hook.encode() in source for hook in GUARD_HOOKS)


def _source(file: metadata.PackagePath) -> bytes:
    try:
        return Path(str(file.locate())).read_bytes() if file.suffix == ".py" else b""
    except OSError:
        return b""


def _register(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> Plugin:
    marked = _marked(module)
    plugin = replace(plugin, guards=plugin.guards or not set(GUARD_HOOKS).isdisjoint(marked.values()))
    wanted = getattr(module, "aiadmin_api_version", API_VERSION)
    if wanted != API_VERSION:
        older = isinstance(wanted, int) and wanted < API_VERSION
        remedy = "upgrade the plugin" if older else "upgrade aiadmin-core"
        return replace(plugin, error=f"written for plugin API {wanted}, this is {API_VERSION}: {remedy}")
    if unknown := [name for name in marked if name not in _hook_names()]:
        return replace(plugin, error=f"implements hooks that do not exist: {', '.join(unknown)}")
    if waited_for := [name for name in marked if inspect.iscoroutinefunction(getattr(module, name))]:
        return replace(plugin, error=f"hooks are plain functions, not `async def`: {', '.join(waited_for)}")
    try:
        manager.register(module, plugin.name)
    except Exception as error:
        return replace(plugin, error=f"cannot be registered: {error_text(error)}")
    return replace(plugin, module=module, hooks=tuple(name for name in _hook_names() if name in marked))


def _marked(module: Any) -> dict[str, str]:
    """The functions marked `@hookimpl` and the hooks they are meant for, of the same name but for a `specname`."""
    found = {name: getattr(inspect.getattr_static(module, name, None), _MARKER, None) for name in dir(module)}
    return {name: options.get("specname") or name for name, options in found.items() if isinstance(options, dict)}


_MARKER = hookspecs.PROJECT + "_impl"


@cache
def _hook_names() -> tuple[str, ...]:
    return tuple(name for name in vars(hookspecs) if name.startswith("aiadmin_"))


def _target(module: Any) -> str:
    return module.__name__ if isinstance(module, ModuleType) else type(module).__qualname__


def error_text(error: BaseException) -> str:
    """What a plugin raised, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
