"""`aiadmin alias`: names that follow a model, with settings of their own."""

from typing import TYPE_CHECKING, Any

import click

from ._sampling import chosen, rope_scaling_option, sampling_options
from ._verb import json_option, with_debug

if TYPE_CHECKING:
    from ..store.aliases import Alias, Aliases
    from ..store.store import ModelStore


@with_debug
@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, set and remove aliases.

    An alias follows what it points to; a copy (`aiadmin cp`) goes on to mean today's model. Without a subcommand,
    lists them.

    \b
    aiadmin alias set gpt-4o smollm2 --keep-alive 30m
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_aliases, as_json=False)


@with_debug
@command.command("list")
@json_option
def list_aliases(as_json: bool) -> None:
    """List the aliases."""
    from ._output import print_json, remark, table
    from .list import alias_record

    kept = _aliases()
    aliases = kept.all()
    if problem := kept.problem():
        remark(f"Not all aliases are listed: {problem}.")
    if as_json:
        print_json([alias_record(name, alias) for name, alias in aliases.items()])
    elif aliases:
        table(
            ("NAME", "MODEL", "SETTINGS"), [(name, alias.target, settings_of(alias)) for name, alias in aliases.items()]
        )
    elif not problem:
        remark("There are no aliases. `aiadmin alias set NAME MODEL` makes one.")


@with_debug
@command.command("set")
@click.argument("name")
@click.argument("model")
@click.option("--backend", help="The backend that must serve it.")
@click.option("--keep-alive", help="How long it stays loaded when idle: 300, 10m, -1 for ever.")
@click.option("--context", type=click.IntRange(min=1), help="Tokens of context to open it with.")
@rope_scaling_option
@sampling_options
def set_alias(
    name: str,
    model: str,
    backend: str | None,
    keep_alive: str | None,
    context: int | None,
    rope_scaling: str | None,
    **given: Any,
) -> None:
    """Let NAME stand for MODEL."""
    from aiadmin_core.errors import BadRequest, ModelNotFound

    from ..settings import load_settings
    from ..store.aliases import Alias
    from ._output import remark
    from ._resolving import resolver_of

    if here := _store().find(name):  # a model goes before an alias: it would have no effect
        raise BadRequest(f"There is a model '{here.name}'.", hint="Choose another name, or `aiadmin rm` it first.")
    parameters = chosen(given) | ({"rope_scaling": rope_scaling} if rope_scaling else {})
    if backend is not None:
        backend = known_backend(backend)
    alias = Alias(target=model, backend=backend, keep_alive=keep_alive, n_ctx=context, parameters=parameters)
    _aliases().set(name, alias)
    remark(f"{name} now stands for {model}.")
    try:
        resolver_of(_store(), load_settings()).explain(model)
    except ModelNotFound as error:
        remark(f"There is no model '{model}' yet. {error.hint}")


@with_debug
@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove_aliases(names: tuple[str, ...]) -> None:
    """Remove aliases; the models stay."""
    from ._output import remark

    aliases = _aliases()
    for name in names:
        aliases.remove(name)
        remark(f"Removed the alias {name}.")


def known_backend(name: str) -> str:
    """The backend's name as it writes it itself. Raises `BadRequest` for what nobody calls a backend."""
    from difflib import get_close_matches

    from aiadmin_core.errors import BadRequest

    from ..routing.choice import BACKEND_PACKAGES
    from ._plugins import installed_plugins

    known = {*installed_plugins().backends(), *BACKEND_PACKAGES}
    found = next((backend for backend in known if backend.lower() == name.lower()), None)
    if found is None:
        near = get_close_matches(name.lower(), known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(sorted(known))}."
        raise BadRequest(f"There is no backend '{name}'.", hint=hint, param="backend")
    return found


def settings_of(alias: "Alias") -> str:
    """What an alias sets beside its target, in a line."""
    pairs = {
        "backend": alias.backend,
        "keep-alive": alias.keep_alive,
        "context": alias.n_ctx,
        "parallel": alias.n_parallel,
        **alias.parameters,
    }
    return ", ".join(f"{name} {value}" for name, value in pairs.items() if value is not None)


def _aliases() -> "Aliases":
    from ..store.aliases import Aliases

    return Aliases(_store().aliases_path)


def _store() -> "ModelStore":
    from ..settings import load_settings
    from ..store.store import ModelStore

    return ModelStore(load_settings().models)
