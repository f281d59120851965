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
    from ..apis.loading import load_apis
    from ._output import paragraph, print_json, table
    from ._plugins import installed_plugins, quietly

    plugins = installed_plugins()
    with quietly():  # what is wrong is shown below
        plugins.examine()
        load_apis(plugins)
    if as_json:
        print_json([record(plugin) for plugin in plugins.installed])
        return
    table(("NAME", "VERSION", "HOOKS"), [row(plugin) for plugin in plugins.installed])
    for plugin in plugins.broken:
        paragraph(f"{plugin.name}{' is not in use' if plugin.error else ''}: {plugin.trouble}.")


def record(plugin: "Plugin") -> dict[str, Any]:
    """A plugin as `--json` has it."""
    names = ("name", "target", "distribution", "version", "hooks", "error", "faults")
    return {name: getattr(plugin, name) for name in names}


def row(plugin: "Plugin") -> tuple[str, str, str]:
    """A plugin as people read it; what is wrong with it has room below the table."""
    hooks = ", ".join(hook.removeprefix("aiadmin_") for hook in plugin.hooks)
    return plugin.name, "built in" if plugin.builtin else plugin.version, "not in use" if plugin.error else hooks
