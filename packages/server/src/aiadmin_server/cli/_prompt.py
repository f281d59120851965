"""What `run` is asked: its arguments, what is piped in, or nothing (then it chats)."""

import sys
from collections.abc import Sequence
from threading import Timer

import click

from ._output import remark

PATIENCE_S = 2.0
"""How long standard input may stay open in silence before we say what we wait for."""


def prompt_of(words: Sequence[str]) -> str | None:
    """The prompt: the words, then what is piped in. None asks for a chat.

    Raises `click.UsageError` where there is neither prompt nor terminal.
    """
    typed = " ".join(words)
    if sys.stdin is None or sys.stdin.isatty():
        return typed or None
    prompt = joined(typed, _read_all())
    if not prompt:
        raise click.UsageError("Nothing to ask: give a prompt, pipe one in, or run on a terminal to chat.")
    return prompt


def joined(typed: str, piped: str) -> str:
    """Both, a blank line between them: `aiadmin run smollm2 "Summarise this:" < letter.txt`."""
    return "\n\n".join(part for part in (typed, piped.strip()) if part)


def _read_all() -> str:
    waiting = Timer(PATIENCE_S, remark, ["Reading standard input to its end (Ctrl-D; `</dev/null` if there is none)."])
    waiting.daemon = True
    waiting.start()
    try:
        return sys.stdin.buffer.read().decode("utf-8", errors="replace")
    finally:
        waiting.cancel()
