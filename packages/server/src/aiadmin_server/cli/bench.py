"""`aiadmin bench`: how fast a model answers on this machine, through the whole server."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from ._names import MODEL
from ._verb import json_option, verb

if TYPE_CHECKING:
    from ._bench import Measured


@verb
@click.argument("model", type=MODEL)
@click.option(
    "--prompt-tokens", default=256, show_default=True, type=click.IntRange(8), help="About how long each prompt is."
)
@click.option("--tokens", default=64, show_default=True, type=click.IntRange(2), help="Tokens of each answer.")
@click.option("--clients", default=1, show_default=True, type=click.IntRange(1, 64), help="Requests at a time.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Requests of each client.")
@json_option
def command(model: str, prompt_tokens: int, tokens: int, clients: int, rounds: int, as_json: bool) -> None:
    """Measure how fast a model answers.

    Asks the running server, or one started for this, as a program would. The model is loaded and asked once before
    anything is measured; every prompt is new, so that nothing of it is cached. Whatever else the machine does counts.
    """
    from ..settings import load_settings
    from ._bench import measure, summary
    from ._output import facts, print_json, remark
    from ._reach import make_available, reach_server

    settings = load_settings()
    with ExitStack() as stack:
        client = reach_server(settings, stack)
        make_available(client, model, settings, chatting=True)
        remark(f"Loading {model}, then {clients * rounds} requests, {clients} at a time.")
        measured = measure(
            client.url,
            settings.api_key,
            model,
            n_prompt=prompt_tokens,
            n_tokens=tokens,
            n_clients=clients,
            rounds=rounds,
        )
    found = summary(measured, n_clients=clients)
    if as_json:
        print_json({"model": model, **found})
    else:
        facts(lines(measured, found))


def lines(measured: "Measured", found: dict[str, Any]) -> list[tuple[str, str]]:
    """The summary as people read it: medians, with the slowest and fastest of several."""

    def spread(name: str, unit: str, digits: int) -> str:
        low, middle, high = found[name]
        text = f"{middle:.{digits}f} {unit}"
        return text if len(measured.answers) == 1 else f"{text} ({low:.{digits}f} to {high:.{digits}f})"

    pairs = [
        ("first token", "after " + spread("first_token_s", "s", 3)),
        ("prompt", spread("prompt_tokens_per_s", "tokens/s", 1) + f", {found['prompt_tokens']} tokens"),
        ("answer", spread("tokens_per_s", "tokens/s", 1) + f", {found['completion_tokens']} tokens"),
    ]
    if found["clients"] > 1:
        pairs.append(("all together", f"{found['total_tokens_per_s']:.1f} tokens/s, {found['clients']} at a time"))
    pairs.append(("loading", f"{found['load_s']:.1f} s, the first answer included"))
    if found["cached_tokens"]:
        pairs.append(("cached", f"{found['cached_tokens']} tokens of all prompts, which were not read"))
    return pairs
