"""`aiadmin run`: one prompt, piped input, or a chat. Only the answer goes to stdout."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..settings import Settings
from ._hosts import is_this_machine
from ._verb import json_option, verb

if TYPE_CHECKING:
    from ._client import Client

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def sampling_option(name: str, help: str) -> Callable[[AnyFunction], AnyFunction]:
    """An option for a field of `SamplingParams`, whose range is checked before anything is asked."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        from aiadmin_core.errors import BadRequest

        from ._conversation import read_setting

        try:
            return None if value is None else read_setting(param.name or "", value)
        except BadRequest as error:
            raise click.BadParameter(error.message, ctx, param) from None

    return click.option(name, metavar="NUMBER", callback=read, help=help)


@verb
@click.argument("model")
@click.argument("prompt", nargs=-1)
@click.option("--system", metavar="TEXT", help="Tell the model how to behave.")
@sampling_option("--temperature", help="0 takes the most likely token; 2 is the wildest.")
@sampling_option("--seed", help="The same seed and prompt give the same answer.")
@sampling_option("--max-tokens", help="End the answer after this many tokens.")
@click.option("--format", "answer_format", type=click.Choice(["json"]), help="Answer with a JSON object.")
@click.option("--keep-alive", metavar="TIME", help="Keep the model loaded afterwards: 300, 10m, -1 for ever.")
@click.option("--verbose", is_flag=True, help="Say how fast it was, on stderr.")
@json_option
def command(
    model: str,
    prompt: tuple[str, ...],
    system: str | None,
    temperature: float | None,
    seed: int | None,
    max_tokens: int | None,
    answer_format: str | None,
    keep_alive: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Ask a model one thing, or chat with it.

    With a PROMPT, or text piped in, or both, prints the answer. Without, on a terminal, starts a chat. Uses the
    running server or starts one for itself; a model of the catalogue that is not here yet is pulled first.

    \b
    aiadmin run smollm2 "Why is the sky blue?"
    aiadmin run smollm2 "Summarise this:" < letter.txt
    """
    from ..settings import load_settings
    from ._conversation import Conversation
    from ._prompt import prompt_of

    settings = load_settings()
    options: dict[str, Any] = {
        "temperature": temperature,
        "seed": seed,
        "max_tokens": max_tokens,
        "response_format": {"type": "json_object"} if answer_format else None,
        "keep_alive": keep_alive,
    }
    given = {name: value for name, value in options.items() if value is not None}
    conversation = Conversation(model, system=system, options=given)
    asked = prompt_of(prompt)
    if asked is None and as_json:
        raise click.UsageError("--json prints one answer: give a prompt.")
    with ExitStack() as stack:
        client = _reach_server(settings, stack)
        _make_available(client, model, settings, chatting=asked is None)
        if asked is None:
            from ._chat import chat

            chat(client, conversation, history=_history(settings), verbose=verbose)
        elif as_json:
            _print_completion(client, conversation.request(asked))
        else:
            _print_answer(client, conversation.request(asked), model, verbose=verbose)


def _reach_server(settings: Settings, stack: ExitStack) -> "Client":
    """A `Client` of the running server, or of one that lives until `stack` is closed."""
    from ._client import Client, not_running, probe
    from ._own_server import OwnServer

    listener = probe(settings.url, settings.api_key)
    if listener.kind == "aiadmin":
        return stack.enter_context(Client(settings.url, settings.api_key))
    if not is_this_machine(settings.host):
        raise not_running(settings.url, stranger=listener.kind == "stranger")
    return stack.enter_context(Client(stack.enter_context(OwnServer()).url, settings.api_key))


def _make_available(client: "Client", model: str, settings: Settings, *, chatting: bool) -> None:
    """Pull a model of the catalogue that this machine's server does not have.

    Any other name is the server's to judge when it is asked; a chat does not begin with one that cannot be right.
    """
    from urllib.parse import quote

    from ._client import ServerRefused
    from ._output import remark, size
    from ._pulling import fetch, in_catalogue

    if not is_this_machine(settings.host):
        return
    try:
        client.get(f"/v1/models/{quote(model, safe='/:')}")
    except ServerRefused as refused:
        entry = in_catalogue(model)
        if refused.status == 404 and entry is not None:
            remark(f"{model} is not here yet: pulling it ({size(entry.download_size or entry.size)}).")
            fetch(model, settings)
        elif chatting:
            raise


def _print_answer(client: "Client", request: dict[str, Any], model: str, *, verbose: bool) -> None:
    from ._answer import Interrupted, report, stream_answer

    try:
        answer = stream_answer(client, request, waiting_for=model)
    except Interrupted:
        raise KeyboardInterrupt from None
    if verbose:
        report(answer)


def _print_completion(client: "Client", request: dict[str, Any]) -> None:
    from ._answer import CHAT_PATH
    from ._output import print_json

    print_json(client.post(CHAT_PATH, request))


def _history(settings: Settings) -> Path | None:
    """The file that keeps what is typed; None with AIADMIN_NOHISTORY."""
    return settings.state / "history" if settings.keep_history else None
