"""`aiadmin alias`: names that follow a model, with settings of their own."""

from typing import TYPE_CHECKING, Any

import click

from ._names import MODEL
from ._parameters import chosen, parameter_options
from ._verb import json_option, with_debug

if TYPE_CHECKING:
    from aiadmin_core.specs.request import NamedAdapter

    from ..routing.resolver import Resolver
    from ..store.aliases import Alias

missing_ok_option = click.option("--missing-ok", is_flag=True, help="Also where a model is not here yet.")


@with_debug
@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, set and remove aliases.

    An alias follows what it points to; a copy (`aiadmin cp`) goes on to mean today's model. Without a subcommand,
    lists them.

    \b
    aiadmin alias set gpt-4o smollm2 --temperature 0.2 --fallback qwen3
    aiadmin alias set 'claude*' smollm2
    aiadmin alias openai smollm2
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

    kept = _resolver().aliases
    aliases = kept.all()
    if problem := kept.problem():
        remark(f"Not all aliases are listed: {problem}.")
    if as_json:
        print_json([alias_record(name, alias) for name, alias in aliases.items()])
    elif aliases:
        rows = [(name, " or ".join(alias.targets), settings_of(alias)) for name, alias in aliases.items()]
        table(("NAME", "MODEL", "SETTINGS"), rows)
    elif not problem:
        remark("There are no aliases. `aiadmin alias set NAME MODEL` makes one.")


@with_debug
@command.command("show")
@click.argument("name")
@json_option
def show_alias(name: str, as_json: bool) -> None:
    """Show what NAME stands for, and how that is served."""
    from aiadmin_core.errors import ModelNotFound

    from ..store.aliases import AliasNotFound
    from ._output import facts, print_json, remark
    from .list import alias_record

    resolver = _resolver()
    resolver.aliases.check(name)
    alias = resolver.aliases.get(name)
    if alias is None:
        raise AliasNotFound(name)
    if as_json:
        print_json(alias_record(name, alias))
        return
    pairs = [("name", name), ("model", alias.target), ("fallbacks", "\n".join(alias.fallbacks))]
    pairs += [(key, str(value)) for key, value in own_settings(alias).items()]
    facts([(label, value) for label, value in pairs if value])
    try:
        explained = resolver.explain(name)
    except ModelNotFound as error:
        remark(str(error))
    else:
        remark(" ".join(explained.steps))


@with_debug
@command.command("set")
@click.argument("name")
@click.argument("model", type=MODEL)
@click.option("--fallback", "fallbacks", multiple=True, metavar="MODEL", help="Ask this one where MODEL cannot answer.")
@click.option("--backend", help="The backend that must serve it.")
@click.option("--system", metavar="TEXT", help="A system message for conversations that have none.")
@click.option("--keep-alive", metavar="TIME", help="How long it stays loaded when idle: 300, 10m, -1 for ever.")
@click.option("--lora", multiple=True, metavar="MODEL*SCALE", help="Apply the adapters of this model, by so much (1).")
@parameter_options
@missing_ok_option
def set_alias(
    name: str,
    model: str,
    fallbacks: tuple[str, ...],
    backend: str | None,
    system: str | None,
    keep_alive: str | None,
    lora: tuple[str, ...],
    missing_ok: bool,
    **given: Any,
) -> None:
    """Let NAME stand for MODEL.

    NAME may be a pattern, in which `*` stands for anything: an exact name goes before it, and of several patterns the
    one with the longest text before its first `*`. MODEL may be an alias. The next request sees the change. What an
    earlier alias of this NAME had set is forgotten.

    Each `--fallback` is asked, in order, where those before it are missing, cannot be loaded or are full. The answer
    then names the model that gave it.
    """
    from ..routing import aliasing
    from ..store.aliases import Alias
    from ._output import remark

    resolver = _resolver()
    alias = Alias(
        target=model,
        fallbacks=fallbacks,
        backend=aliasing.known_backend(resolver, backend) if backend is not None else None,
        keep_alive=keep_alive,
        system=system,
        lora=tuple(map(_adapter, lora)) or None,
        parameters=chosen(given),
    )
    aliasing.set_alias(resolver, name, alias, missing_ok=missing_ok)
    remark(f"{name} now stands for {model}{''.join(f', or {other}' for other in fallbacks)}.")


@with_debug
@command.command("openai")
@click.argument("model", type=MODEL)
@click.option("--embeddings", metavar="MODEL", help="What OpenAI's names of embedding models are to stand for.")
def set_well_known(model: str, embeddings: str | None) -> None:
    """Let the names of OpenAI's and Anthropic's models stand for MODEL.

    Programs made for those services then need no other setting than the address. Names that are taken, by a model or
    by an alias that stands for something else, stay as they are. `aiadmin alias list` shows what was set.
    """
    from ..routing import aliasing
    from ..store.aliases import Alias
    from ._output import remark
    from ._well_known import CHAT, EMBEDDINGS

    resolver = _resolver()
    wanted = dict.fromkeys(CHAT, model) | (dict.fromkeys(EMBEDDINGS, embeddings) if embeddings else {})
    for target in dict.fromkeys(wanted.values()):
        resolver.explain(target)  # says what is missing, before anything is set
    done: dict[str, list[str]] = {}
    kept: list[str] = []
    for name, target in wanted.items():
        if taken := _taken(resolver, name):
            kept.append(f"{name} ({taken})")
        else:
            aliasing.set_alias(resolver, name, Alias(target=target))
            done.setdefault(target, []).append(name)
    if kept:
        remark(f"Left as they are: {', '.join(kept)}.")
    for target, names in done.items():
        remark(f"These now stand for {target}: {', '.join(names)}.")
    if not embeddings:
        remark("OpenAI's embedding models stand for nothing yet: `--embeddings MODEL` sets their names.")


@with_debug
@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove_aliases(names: tuple[str, ...]) -> None:
    """Remove aliases; the models stay."""
    from ._output import remark

    aliases = _resolver().aliases
    for name in names:
        aliases.remove(name)
        remark(f"Removed the alias {name}.")


def _adapter(text: str) -> "NamedAdapter":
    """`french*0.5`."""
    from aiadmin_core.specs.request import NamedAdapter

    name, star, scale = text.rpartition("*")
    try:
        return NamedAdapter(name=name, scale=float(scale)) if star else NamedAdapter(name=text)
    except ValueError:
        raise click.UsageError(f"'{text}': after the * there has to be a number, as in 'french*0.5'.") from None


def own_settings(alias: "Alias") -> dict[str, Any]:
    """What an alias sets beside what it stands for, by the names of the options."""
    more = {"backend": alias.backend, "keep-alive": alias.keep_alive, "system": alias.system}
    more["lora"] = ", ".join(f"{one.name}*{one.scale:g}" for one in alias.lora or ()) or None
    pairs = more | {name.replace("_", "-"): value for name, value in alias.parameters.items()}
    return {name: value for name, value in pairs.items() if value is not None}


def settings_of(alias: "Alias") -> str:
    """The same in a line."""
    return ", ".join(f"{name} {value}" for name, value in own_settings(alias).items())


def _taken(resolver: "Resolver", name: str) -> str:
    """Why a name is not to be set: it would lose what it has. "" where it is free."""
    from ..store.patterns import is_pattern

    if not is_pattern(name) and resolver.store.find(name) is not None:
        return "a model has this name"
    alias = resolver.aliases.get(name)
    return f"it stands for {alias.target}" if alias is not None else ""


def _resolver() -> "Resolver":
    from ..settings import load_settings
    from ..store.store import ModelStore
    from ._resolving import resolver_of

    settings = load_settings()
    return resolver_of(ModelStore(settings.models), settings)
