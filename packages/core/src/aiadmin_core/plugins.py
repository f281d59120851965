"""Which plugins are installed, and the one place that loads them. Used by the server, the command line and runners.

A plugin that cannot be imported, is of another API version, or breaks a hook, is kept as a `Plugin` with its error
and does not stop the others.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from . import hookspecs
from .backend import API_VERSION, Backend

SELECTION_VARIABLE = "AIADMIN_PLUGINS"


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
    """One entry point of the group `aiadmin`."""

    name: str
    target: str
    distribution: str = ""
    version: str = ""
    module: Any = None
    hooks: tuple[str, ...] = ()
    error: str = ""
    """Why it is not in use; "" if it is."""


@dataclass(kw_only=True)
class Plugins:
    """The plugins of this process. `hook` calls them; `backends` is what they offer."""

    manager: pluggy.PluginManager
    installed: list[Plugin] = field(default_factory=list)

    @property
    def hook(self) -> Any:
        return self.manager.hook

    @property
    def broken(self) -> list[Plugin]:
        return [plugin for plugin in self.installed if plugin.error]

    def collect(self, hook_name: str) -> list[Any]:
        """Call a hook that gives sequences, plugin by plugin, first loaded first: one flat list. A plugin whose
        implementation raises is marked broken and contributes nothing."""
        return [item for _, answer in self._answers(hook_name, list) for item in answer]

    def merge(self, hook_name: str) -> dict[str, Any]:
        """Call a hook that gives mappings, as `collect` does: one dict. A key belongs to the first plugin that has
        it."""
        merged: dict[str, Any] = {}
        for _, answer in self._answers(hook_name, dict):
            merged = answer | merged
        return merged

    def _answers(self, hook_name: str, kind: type[Any]) -> list[tuple[str, Any]]:
        """What each working plugin answers, copied into a `kind`, after the plugin's name."""
        answers: list[tuple[str, Any]] = []
        for index, plugin in enumerate(self.installed):
            if plugin.error or hook_name not in plugin.hooks:
                continue
            try:
                answers.append((plugin.name, kind(getattr(plugin.module, hook_name)())))
            except Exception as error:
                self.installed[index] = _broken(plugin, f"{hook_name} raised {_describe(error)}")
                self.manager.unregister(plugin.module)
        return answers

    def backends(self) -> dict[str, Backend]:
        """Backends by name; the first plugin to offer a name has it."""
        return {name: backend for name, (_, backend) in self.offers().items()}

    def offers(self) -> dict[str, tuple[str, Backend]]:
        """The same, each after the name of its plugin: what a runner is told to load."""
        found: dict[str, tuple[str, Backend]] = {}
        for plugin, backends in self._answers("aiadmin_backends", list):
            for backend in backends:
                found.setdefault(backend.name, (plugin, backend))
        return found


def load_plugins(*, builtin: Sequence[tuple[str, Any]] = (), only: Sequence[str] | None = None) -> Plugins:
    """Load the installed plugins, after `builtin` ones (name, module).

    `only` names the plugins to load, as a runner does; otherwise `AIADMIN_PLUGINS` chooses. Never raises for a
    plugin's sake.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager=manager)
    for name, module in builtin:
        plugins.installed.append(_register(manager, Plugin(name=name, target=_target(module)), module))
    entry_points = {entry.name: entry for entry in metadata.entry_points(group=hookspecs.PROJECT)}
    if only is None:
        selection = Selection.parse(os.environ.get(SELECTION_VARIABLE, ""))
        names = selection.order(entry_points)
        for missing in sorted(set(selection.only) - set(entry_points)):
            error = f"named in {SELECTION_VARIABLE} and not installed"
            plugins.installed.append(Plugin(name=missing, target="", error=error))
    else:
        names = [name for name in only if name in entry_points]
    # pluggy calls last registered first: register in reverse, so that "first loaded" also answers first.
    loaded = {name: _load(manager, entry_points[name]) for name in reversed(names)}
    plugins.installed.extend(loaded[name] for name in names)
    return plugins


def _load(manager: pluggy.PluginManager, entry: metadata.EntryPoint) -> Plugin:
    distribution = entry.dist
    plugin = Plugin(
        name=entry.name,
        target=entry.value,
        distribution=distribution.name if distribution else "",
        version=distribution.version if distribution else "",
    )
    try:
        module = entry.load()
    except BaseException as error:  # an import may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        return _broken(plugin, f"cannot be imported: {_describe(error)}")
    return _register(manager, plugin, module)


def _register(manager: pluggy.PluginManager, plugin: Plugin, module: Any) -> Plugin:
    wanted = getattr(module, "aiadmin_api_version", API_VERSION)
    if wanted != API_VERSION:
        older = isinstance(wanted, int) and wanted < API_VERSION
        remedy = "upgrade the plugin" if older else "upgrade aiadmin-core"
        return _broken(plugin, f"written for plugin API {wanted}, this is {API_VERSION}: {remedy}")
    try:
        manager.register(module, plugin.name)
    except Exception as error:
        return _broken(plugin, f"cannot be registered: {_describe(error)}")
    marker = hookspecs.PROJECT + "_impl"
    hooks = tuple(name for name in _hook_names() if hasattr(getattr(module, name, None), marker))
    unknown = [name for name in dir(module) if hasattr(getattr(module, name, None), marker) and name not in hooks]
    if unknown:
        manager.unregister(module)
        return _broken(plugin, f"implements hooks that do not exist: {', '.join(unknown)}")
    return Plugin(
        name=plugin.name,
        target=plugin.target,
        distribution=plugin.distribution,
        version=plugin.version,
        module=module,
        hooks=hooks,
    )


@cache
def _hook_names() -> tuple[str, ...]:
    return tuple(name for name in vars(hookspecs) if name.startswith("aiadmin_"))


def _broken(plugin: Plugin, error: str) -> Plugin:
    return Plugin(
        name=plugin.name,
        target=plugin.target,
        distribution=plugin.distribution,
        version=plugin.version,
        error=error,
    )


def _target(module: Any) -> str:
    return module.__name__ if isinstance(module, ModuleType) else type(module).__qualname__


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
