"""`aiadmin plugins`: what is installed, what it implements, what is wrong with it."""

from typing import TYPE_CHECKING, Any

from ._verb import json_option, verb

if TYPE_CHECKING:
    from aiadmin_core.plugins import Plugin


@verb
@json_option
def command(as_json: bool) -> None:
    """List the installed plugins.

    AIADMIN_PLUGINS chooses: `echo,mlx` loads only those, in this order; `-mlx` leaves one out.
    """
    from ._output import print_json, table
    from ._plugins import installed_plugins

    plugins = installed_plugins().installed
    if as_json:
        print_json([record(plugin) for plugin in plugins])
    else:
        table(("NAME", "VERSION", "HOOKS"), [(plugin.name, _version(plugin), _remark(plugin)) for plugin in plugins])


def record(plugin: "Plugin") -> dict[str, Any]:
    """A plugin as `--json` has it."""
    names = ("name", "target", "distribution", "version", "hooks", "error")
    return {name: getattr(plugin, name) for name in names}


def _version(plugin: "Plugin") -> str:
    return plugin.version or ("" if plugin.error else "built in")


def _remark(plugin: "Plugin") -> str:
    hooks = ", ".join(hook.removeprefix("aiadmin_") for hook in plugin.hooks)
    return f"error: {plugin.error}" if plugin.error else hooks
