"""`aiadmin set`: how a model is used where a request leaves it open."""

from typing import TYPE_CHECKING, Any

import click

from ._names import MODEL
from ._parameters import chosen, parameter_options
from ._verb import json_option, verb

if TYPE_CHECKING:
    from ..store.defaults import OwnDefaults

UNSET_ALL = "all"


@verb
@click.argument("name", type=MODEL)
@parameter_options
@click.option("--system", metavar="TEXT", help="A system message for conversations that have none; '' for none at all.")
@click.option("--keep-alive", metavar="TIME", help="How long it stays loaded when idle: 300, 10m, -1 for ever.")
@click.option("--unset", multiple=True, metavar="OPTION", help="Forget one (temperature, system, ...), or all.")
@json_option
def command(name: str, unset: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Set a model's defaults.

    They count where a request, or the alias it came by, says nothing, and go before what the model brought along.
    Without options, shows what is set. `aiadmin show NAME` shows all defaults and where each comes from.

    \b
    aiadmin set smollm2 --temperature 0.2 --system "Be brief."
    aiadmin set smollm2 --unset system
    """
    import msgspec

    from ..settings import load_settings
    from ..store.store import ModelStore
    from ._output import print_json, remark
    from ._resolving import files_needed

    settings = load_settings()
    store = ModelStore(settings.models)
    change = changed(given, unset)
    with files_needed(name, store, settings):
        model = store.set_defaults(name, change)
    if as_json:
        print_json(msgspec.to_builtins(model.own))
        return
    lines = [f"{key} {value!r}" for key, value in flat(model.own).items()]
    remark(f"{model.name}: {', '.join(lines) or 'nothing is set'}.")
    asked, trained = model.own.parameters.get("num_ctx", 0), model.info.n_ctx_train
    if 0 < trained < asked and model.own.parameters.get("rope_scaling") in (None, "none"):
        remark(f"It was trained with {trained} tokens, and its context ends there: `--rope-scaling yarn` goes beyond.")


def changed(given: dict[str, Any], unset: tuple[str, ...]) -> "Any":
    """What is to become of stored defaults. Pure. Raises `BadRequest`, `click.UsageError`."""
    from aiadmin_core.errors import BadRequest

    from ..durations import parse_duration
    from ..routing.defaults import default_parameters
    from ..store.defaults import OwnDefaults

    values = chosen(given)
    if given.get("keep_alive") is not None:
        try:
            parse_duration(given["keep_alive"])
        except ValueError as error:
            raise BadRequest(f"--keep-alive: {error}.", param="keep_alive") from None
    known = {*default_parameters(), "system", "keep_alive", UNSET_ALL}
    dropped = {word.removeprefix("--").replace("-", "_") for word in unset}
    if strange := dropped - known:
        raise click.UsageError(
            f"There is nothing called '{min(strange)}' to unset; there are: {', '.join(sorted(known))}."
        )

    def change(own: "OwnDefaults") -> "OwnDefaults":
        kept = OwnDefaults() if UNSET_ALL in dropped else own
        return OwnDefaults(
            parameters={key: value for key, value in kept.parameters.items() if key not in dropped} | values,
            system=_later(given["system"], None if "system" in dropped else kept.system),
            keep_alive=_later(given["keep_alive"], None if "keep_alive" in dropped else kept.keep_alive),
        )

    return change


def flat(own: "OwnDefaults") -> dict[str, Any]:
    """Everything that is set, by the names of the options."""
    more = {"system": own.system, "keep_alive": own.keep_alive}
    return own.parameters | {key: value for key, value in more.items() if value is not None}


def _later(given: Any, kept: Any) -> Any:
    return kept if given is None else given
