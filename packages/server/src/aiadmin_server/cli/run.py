"""`aiadmin run`: one prompt, piped input, or a chat. Only the answer goes to stdout."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..settings import Settings
from ._names import MODEL
from ._verb import json_option, with_debug

if TYPE_CHECKING:
    from ._client import Client
    from ._conversation import Conversation

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


class RunCommand(click.Command):
    """Takes `--think` alone and `--think=high`: as a value of its own it would swallow the prompt."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, `--think` rewritten."""
        return super().parse_args(ctx, [_think_as_written(word) for word in args])


def _think_as_written(word: str) -> str:
    return {"--think": "--thinking=true", "--no-think": "--thinking=false"}.get(
        word, word.replace("--think=", "--thinking=", 1) if word.startswith("--think=") else word
    )


@with_debug
@click.command(cls=RunCommand)
@click.argument("model", type=MODEL)
@click.argument("prompt", nargs=-1)
@click.option("--system", metavar="TEXT", help="Tell the model how to behave.")
@sampling_option("--temperature", help="0 takes the most likely token; 2 is the wildest.")
@sampling_option("--seed", help="The same seed and prompt give the same answer.")
@sampling_option("--max-tokens", help="End the answer after this many tokens.")
@click.option("--format", "answer_format", metavar="json|SCHEMA", help="Answer with JSON; SCHEMA may be a file.")
@click.option(
    "--thinking",
    metavar="HOW",
    type=click.Choice(["true", "false", "low", "medium", "high"]),
    help="Whether, or how much, the model thinks first; also --think, --no-think and --think=high.",
)
@click.option("--hide-thinking", "--hidethinking", is_flag=True, help="Do not show what the model thinks.")
@click.option(
    "--keep-alive", "--keepalive", metavar="TIME", help="Keep the model loaded afterwards: 300, 10m, -1 for ever."
)
@click.option("--nowordwrap", is_flag=True, help="Leave lines to the terminal.")
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
    thinking: str | None,
    hide_thinking: bool,
    keep_alive: str | None,
    nowordwrap: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Ask a model one thing, or chat with it.

    With a PROMPT, or text piped in, or both, prints the answer. Without, on a terminal, starts a chat. Uses the
    running server or starts one for itself; a model of the catalogue, or of a name with a host in front, is pulled
    first where it is not here yet (on a terminal you are asked about one of 2 GB or more). An image is named by its
    path in the prompt.

    \b
    aiadmin run smollm2 "Why is the sky blue?"
    aiadmin run smollm2 "Summarise this:" < letter.txt
    """
    from ..settings import load_settings
    from ._attached import content_of, response_format
    from ._conversation import Conversation
    from ._prompt import prompt_of
    from ._reach import make_available, reach_server

    settings = load_settings()
    options: dict[str, Any] = {
        "temperature": temperature,
        "seed": seed,
        "max_tokens": max_tokens,
        "response_format": response_format(answer_format) if answer_format else None,
        "think": {"true": True, "false": False}.get(thinking, thinking) if thinking else None,
        "keep_alive": keep_alive,
    }
    given = {name: value for name, value in options.items() if value is not None}
    conversation = Conversation(model, system=system, options=given, verbose=verbose, word_wrap=not nowordwrap)
    asked = prompt_of(prompt)
    if asked is None and as_json:
        raise click.UsageError("--json prints one answer: give a prompt.")
    with ExitStack() as stack:
        client = reach_server(settings, stack)
        make_available(client, model, settings, chatting=asked is None)
        if asked is None:
            from ._chat import chat
            from ._sessions import Sessions

            sessions = Sessions(settings.state / "sessions")
            chat(client, conversation, history=_history(settings), sessions=sessions, shows_thoughts=not hide_thinking)
        elif as_json:
            _print_completion(client, conversation.request(content_of(asked)))
        else:
            _print_answer(client, conversation, asked, shows_thoughts=not hide_thinking)


def _print_answer(client: "Client", conversation: "Conversation", asked: str, *, shows_thoughts: bool) -> None:
    from ._answer import Interrupted, report, stream_answer
    from ._attached import content_of

    try:
        answer = stream_answer(
            client,
            conversation.request(content_of(asked)),
            waiting_for=conversation.model,
            wraps=conversation.word_wrap,
            shows_thoughts=shows_thoughts,
        )
    except Interrupted:
        raise KeyboardInterrupt from None
    if conversation.verbose:
        report(answer)


def _print_completion(client: "Client", request: dict[str, Any]) -> None:
    from ._answer import CHAT_PATH
    from ._output import print_json

    print_json(client.post(CHAT_PATH, request))


def _history(settings: Settings) -> Path | None:
    """The file that keeps what is typed; None with AIADMIN_NOHISTORY."""
    return settings.state / "history" if settings.keep_history else None
