"""Shows one answer as it arrives, and measures it. Used by `run`, for one prompt and for each turn of a chat."""

import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import Any

import click

from ._client import Client
from ._output import remark
from ._wrapping import Wrapper

CHAT_PATH = "/v1/chat/completions"
MAX_CHARS = 400_000
"""Of an answer without a limit of its own: a long book."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All but tab and newline: a model must not move the cursor or rename the window."""


@dataclass
class PrintedAnswer:
    """What has arrived so far. Times are `time.perf_counter` seconds."""

    text: str = ""
    finish_reason: str = ""
    usage: dict[str, Any] | None = None
    asked_at: float = 0.0
    first_at: float | None = None
    last_at: float = 0.0

    def add(self, chunk: dict[str, Any], now: float) -> str:
        """Take in a chunk of the stream; the text it brings."""
        self.usage = chunk.get("usage") or self.usage
        pieces = []
        for choice in chunk.get("choices", ()):
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            pieces.append(choice["delta"].get("content") or "")
        text = "".join(pieces)
        if text:
            self.first_at = now if self.first_at is None else self.first_at
            self.last_at = now
            self.text += text
        return text


def stream_answer(
    client: Client, request: dict[str, Any], *, waiting_for: str, wraps: bool = True, shows_thoughts: bool = True
) -> PrintedAnswer:
    """Ask, and write the answer to stdout as it arrives, with a newline after it. One to which the request has set no
    limit ends after `MAX_CHARS`: some engines would never.

    Ctrl-C closes the stream and raises `Interrupted` with what there is.
    """
    limit = None if "max_tokens" in request else MAX_CHARS
    answer = PrintedAnswer(asked_at=time.perf_counter())
    body = {**request, "stream": True, "stream_options": {"include_usage": True}}
    try:
        with closing(client.stream(CHAT_PATH, body)) as chunks:
            show(
                chunks,
                answer,
                write=_writer(wraps=wraps),
                think=_thinker(wraps=wraps, shows=shows_thoughts),
                spinner=_spinner(f"waiting for {waiting_for}"),
                limit=limit,
            )
    except KeyboardInterrupt:
        raise Interrupted(answer) from None
    finally:
        if answer.text and not answer.text.endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()
    return answer


class Interrupted(Exception):
    """Ctrl-C during an answer."""

    def __init__(self, answer: PrintedAnswer) -> None:
        super().__init__("interrupted")
        self.answer = answer


def show(
    chunks: Iterable[dict[str, Any]],
    answer: PrintedAnswer,
    *,
    write: Callable[[str], None],
    think: Callable[[str], None],
    spinner: AbstractContextManager[object],
    limit: int | None = None,
) -> None:
    """Write each chunk's text, give `think` what the model thinks before; the spinner turns until the first of them.
    What goes on beyond `limit` characters is left unread."""
    thinking = False
    n_chars = 0
    with ExitStack() as waiting:
        waiting.enter_context(spinner)
        for chunk in chunks:
            thought, text = thought_in(chunk), answer.add(chunk, time.perf_counter())
            if not thought and not text:
                continue
            waiting.close()
            if thought:
                think(thought)
            if text:
                if thinking:
                    think("\n\n")
                write(text)
            thinking = bool(thought)
            n_chars += len(thought) + len(text)
            if limit is not None and n_chars > limit:
                answer.finish_reason = "length"
                remark(f"\nThe answer was ended after {limit:,} characters. `--max-tokens` sets another limit.")
                return


def thought_in(chunk: dict[str, Any]) -> str:
    """What the model thinks, which is no part of the answer."""
    return "".join(choice["delta"].get("reasoning_content") or "" for choice in chunk.get("choices", ()))


def report(answer: PrintedAnswer) -> None:
    """Time to first token and speed, on stderr."""
    usage = answer.usage or {}
    n_prompt, n_answer = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    n_cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    remark(f"prompt         {n_prompt} tokens, {n_cached} of them cached")
    if answer.first_at is None:
        return
    decode_s = answer.last_at - answer.first_at
    speed = f", {(n_answer - 1) / decode_s:.1f} tokens/s" if n_answer > 1 and decode_s > 0 else ""
    remark(f"first token    after {answer.first_at - answer.asked_at:.2f} s")
    remark(f"answer         {n_answer} tokens{speed} ({answer.finish_reason or 'interrupted'})")


def visible(text: str) -> str:
    """The text without control characters."""
    return CONTROL.sub("", text)


def _writer(*, wraps: bool) -> Callable[[str], None]:
    """Writes the answer: as it is, or as a terminal may show it."""

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    if not sys.stdout.isatty():
        return write
    if not wraps:
        return lambda text: write(visible(text))
    wrapper = Wrapper(write)
    return lambda text: wrapper.write(visible(text))


def _thinker(*, wraps: bool, shows: bool) -> Callable[[str], None]:
    """Writes what the model thinks: beside the answer, and only where somebody watches."""
    if not shows or not _watched():
        return lambda _: None

    def write(text: str) -> None:
        click.echo(click.style(text, dim=True), nl=False, err=True)

    wrapper = Wrapper(write)
    return lambda text: wrapper.write(visible(text)) if wraps else write(visible(text))


def _watched() -> bool:
    return sys.stderr.isatty() and sys.stdout.isatty()


def _spinner(text: str) -> AbstractContextManager[object]:
    if not _watched():
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(text))  # Text: brackets in a name are no markup
