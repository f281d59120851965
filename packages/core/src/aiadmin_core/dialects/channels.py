"""Reads answers that are made of messages, each behind a header that says whom it is for: thoughts, what is said, and
calls. One parser for the families that write so (`harmony`, `muse`, `functionary`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .dialect import CallPiece, Parser, Piece, Thought
from .markers import overlap


@dataclass(frozen=True)
class Channel:
    """What a header begins."""

    kind: Literal["text", "thought", "call"]
    name: str | None = None
    """Of the function that is called, where its arguments follow as they are."""
    inner: Parser | None = None
    """Reads what follows, where calls in it have a form of their own."""


@dataclass(frozen=True, kw_only=True)
class Headers:
    """How headers are found. Markers as text."""

    begins: Sequence[str]
    """Any of them begins a header where a message may begin."""
    over: str
    """Ends a header."""
    ends: Sequence[str]
    """Any of them ends a message; those that begin a header, too, belong to it."""
    channel: Callable[[str], Channel | None]
    """What the text of a header, without `over`, begins; None where it is none, but text of the message."""
    longest: int = 300
    """Characters of a header."""
    ignored: Sequence[str] = field(default=())
    """Headers that are not over where the answer ends, and nothing of it."""


class ChannelParser:
    """See `dialect.Parser`. Text before any header is the answer's. `inside` says that the prompt begins a header,
    `channel` what a whole one in it has begun."""

    def __init__(self, headers: Headers, *, inside: bool = False, channel: Channel | None = None) -> None:
        self._headers = headers
        self._held = ""
        self._state: Literal["begin", "header", "body"] = "header" if inside else "body" if channel else "begin"
        self._channel = channel or Channel("text")

    @property
    def reasoning(self) -> bool:
        return self._state == "body" and self._channel.kind == "thought"

    @property
    def n_held(self) -> int:
        return len(self._held) + (self._channel.inner.n_held if self._channel.inner else 0)

    def feed(self, text: str) -> list[Piece]:
        self._held += text
        pieces: list[Piece] = []
        steps = {"begin": self._begin, "header": self._header, "body": self._body}
        while steps[self._state](pieces):
            pass
        return pieces

    def end(self, token: str) -> list[Piece]:
        pieces: list[Piece] = []
        text, self._held = self._held, ""
        if self._state != "body" and text in self._headers.ignored:
            text = ""
        self._give(text, pieces)
        self._finish(pieces)
        return pieces

    def _begin(self, pieces: list[Piece]) -> bool:
        """Where a message may begin."""
        if any(self._held.startswith(start) for start in self._headers.begins):
            self._state = "header"
            return True
        if any(start.startswith(self._held) for start in self._headers.begins):
            return False
        self._state, self._channel = "body", Channel("text")
        return True

    def _header(self, pieces: list[Piece]) -> bool:
        header, found, body = self._held.partition(self._headers.over)
        if not found and len(header) <= self._headers.longest:
            return False
        channel = self._headers.channel(header) if found else None
        if channel is None:  # no header at all: more of the message before it
            self._state = "body"
            self._give(self._held[:1], pieces)
            self._held = self._held[1:]
            return True
        self._finish(pieces)
        self._held, self._state, self._channel = body, "body", channel
        if channel.name is not None:
            pieces.append(CallPiece(name=channel.name))
        return True

    def _body(self, pieces: list[Piece]) -> bool:
        ends = self._headers.ends
        places = [(at, end) for end in ends if (at := self._held.find(end)) >= 0]
        if not places:
            safe = len(self._held) - max(overlap(self._held, end) for end in ends)
            self._give(self._held[:safe], pieces)
            self._held = self._held[safe:]
            return False
        at, end = min(places)
        self._give(self._held[:at], pieces)
        begins = end in self._headers.begins
        self._held = self._held[at if begins else at + len(end) :]
        self._state = "header" if begins else "begin"
        if not begins:
            self._finish(pieces)
            self._channel = Channel("text")
        return bool(self._held)

    def _give(self, text: str, pieces: list[Piece]) -> None:
        if not text:
            return
        if self._channel.inner is not None:
            pieces.extend(self._channel.inner.feed(text))
        elif self._channel.kind == "thought":
            pieces.append(Thought(text))
        else:
            pieces.append(CallPiece(arguments=text) if self._channel.kind == "call" else text)

    def _finish(self, pieces: list[Piece]) -> None:
        """The message is over."""
        if self._channel.inner is not None:
            pieces.extend(self._channel.inner.end(""))
            self._channel = Channel("text")
