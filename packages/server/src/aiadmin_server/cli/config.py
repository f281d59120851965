"""`aiadmin config`: the settings, where each comes from, and the file that holds some."""

from typing import TYPE_CHECKING, Any

import click

from ._verb import json_option, with_debug

if TYPE_CHECKING:
    from ..configuration import Configuration
    from ..settings import Settings

SECRET = frozenset({"AIADMIN_API_KEY", "AIADMIN_REGISTRY_CREDENTIALS"})


@with_debug
@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show and change settings.

    A setting is, in this order, an option of the command, an AIADMIN_* variable, the variable of an Ollama on this
    machine (OLLAMA_MODELS, ...), a line of the settings file, or its default. Without a subcommand, shows them all.

    \b
    aiadmin config set keep_alive 30m
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show, as_json=False)


@with_debug
@command.command("show")
@json_option
def show(as_json: bool) -> None:
    """Show every setting, its value, and where that comes from."""
    from ..configuration import load_configuration
    from ._output import print_json, remark, table

    configuration = load_configuration()
    found = records(configuration, configuration.settings())
    if as_json:
        print_json(found)
        return
    table(("SETTING", "VALUE", "FROM"), [(one["setting"], _plain(one["value"]), one["from"]) for one in found])
    for note in configuration.notes:
        remark(note)


@with_debug
@command.command("get")
@click.argument("name")
def get(name: str) -> None:
    """Print the value of one setting."""
    from ..configuration import key_of, load_configuration, variable_of

    key = key_of(variable_of(name))
    configuration = load_configuration()
    found = records(configuration, configuration.settings(), secrets=True)
    click.echo(_plain(next(one["value"] for one in found if one["setting"] == key)))


@with_debug
@command.command("set")
@click.argument("name")
@click.argument("value")
def set_setting(name: str, value: str) -> None:
    """Write one setting into the settings file. What runs keeps what it was started with."""
    from .. import settings_file
    from ..configuration import Configuration, Given, config_path, key_of, load_configuration, variable_of
    from ._output import remark

    variable = variable_of(name)
    Configuration(given={variable: Given(value, "")}).settings()  # raises for what it cannot be
    path = config_path()
    settings_file.put(path, key_of(variable), value)
    remark(f"{key_of(variable)} is set in {path}.")
    where = load_configuration().where(variable)
    if where != str(path):
        remark(f"It has no effect while {where} is set.")


@with_debug
@command.command("unset")
@click.argument("name")
def unset(name: str) -> None:
    """Take one setting out of the settings file."""
    from .. import settings_file
    from ..configuration import config_path, key_of, variable_of
    from ._output import remark

    key = key_of(variable_of(name))
    path = config_path()
    done = settings_file.remove(path, key)
    remark(f"{key} is no longer set in {path}." if done else f"{key} was not set in {path}.")


@with_debug
@command.command("path")
def path() -> None:
    """Print where the settings file is, or would be."""
    from ..configuration import config_path

    click.echo(str(config_path()))


def records(configuration: "Configuration", settings: "Settings", *, secrets: bool = False) -> list[dict[str, Any]]:
    """Every setting as `--json` has it; keys are shown only where `secrets`. Pure."""
    from ..configuration import FILE_VARIABLE, PREFIX, key_of
    from ..settings import FIELDS, SECRETS, value_of

    found = []
    for name in FIELDS:
        if name == FILE_VARIABLE:
            continue
        value = value_of(settings, name, configuration.text(name))
        if name in SECRETS and not secrets:
            value = "(set)" if configuration.text(name) else ""
        found.append({"setting": key_of(name), "value": value, "from": configuration.where(name)})
    assert all(name.startswith(PREFIX) for name in FIELDS)
    return found


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
