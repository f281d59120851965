"""The chat on the terminal: reads messages with history and editing, shows answers as they arrive. Used by `run`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output

from aiadmin_core.errors import AiAdminError

from ._answer import Interrupted, report, stream_answer
from ._attached import content_of
from ._commands import Around, is_command, obey
from ._conversation import Conversation, Leave, is_open, unfenced
from ._errors import sentence
from ._output import columns, fitted, remark
from ._sessions import Sessions

if TYPE_CHECKING:
    from ._client import Client


def chat(
    client: "Client",
    conversation: Conversation,
    *,
    history: Path | None,
    sessions: Sessions,
    shows_thoughts: bool = True,
) -> None:
    """Talk until `/bye` or Ctrl-D. What was typed is kept in the file `history`, or nowhere; `/save` keeps
    conversations in `sessions`."""
    kept = kept_in(history)
    session = terminal(kept)
    around = Around(sessions=sessions, describe=lambda model: client.post("/api/show", {"model": model}))
    remark(fitted(f"Chatting with {conversation.model}. /help lists commands, Ctrl-D leaves.", columns()))
    with unechoed():
        while True:
            try:
                line = session.prompt(">>> ").strip()
            except KeyboardInterrupt:
                remark("Ctrl-D or /bye leaves.")
                continue
            except EOFError:
                return
            if not line:
                continue
            try:
                if is_command(line):
                    remark(fitted(obey(conversation, line, around), columns()))
                    kept.is_on = conversation.keeps_history
                else:
                    take_turn(client, conversation, unfenced(line), shows_thoughts=shows_thoughts)
            except Leave:
                return
            except AiAdminError as error:
                remark(fitted(sentence(error), columns()))


def take_turn(client: "Client", conversation: Conversation, prompt: str, *, shows_thoughts: bool) -> None:
    """Ask one thing. An answer that was stopped is kept as far as it went; one that failed is not."""
    content = content_of(prompt)
    try:
        answer = stream_answer(
            client,
            conversation.request(content),
            waiting_for=conversation.model,
            wraps=conversation.word_wrap,
            shows_thoughts=shows_thoughts,
        )
    except Interrupted as interrupted:
        answer = interrupted.answer
        remark("(stopped)")
    if answer.text:
        conversation.add(content, answer.text)
    if conversation.verbose:
        report(answer)


@contextmanager
def unechoed() -> Iterator[None]:
    """Keys that are typed while an answer is written wait, unseen, for the next prompt. Ctrl-C still interrupts."""
    try:
        import termios
    except ImportError:  # Windows shows no key before somebody reads it
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = termios.tcgetattr(terminal)
    quiet[0] &= ~termios.ICRNL  # Enter is what it is at a prompt
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def terminal(history: History) -> PromptSession[str]:
    """Reads a message: Enter sends it unless a fence is open, Alt-Enter starts a new line."""
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline()

    return PromptSession(
        multiline=Condition(lambda: is_open(get_app().current_buffer.text)),
        prompt_continuation="... ",
        key_bindings=keys,
        history=history,
        output=create_output(always_prefer_tty=True),  # the answer may be redirected; what is typed is seen anyway
    )


class Kept(FileHistory):
    """What was typed, in a file; while it is off, for this chat only."""

    is_on = True

    def store_string(self, string: str) -> None:
        if self.is_on:
            super().store_string(string)


class NotKept(InMemoryHistory):
    """The same, for this chat only."""

    is_on = False


def kept_in(path: Path | None) -> Kept | NotKept:
    """History in a file that only its owner reads; in memory where there is no path, or it cannot be written."""
    if path is None:
        return NotKept()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        remark(f"What you type is not kept: {error}")
        return NotKept()
    return Kept(path)
