"""How an endpoint's answer becomes bytes: the protocol that `answer` writes through, and what most writers share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

from aiadmin_core.specs.events import Event

from ..http import ndjson, sse
from ..http.problem import Problem
from .exchange import Opened

Headers = Sequence[tuple[bytes, bytes]]


class Writer(Protocol):
    """One answer's. Once the engine is at work it is told so (`begin`), and asked for a whole body, or for a stream:
    `opening`, `events` any number of times, and `closing`. `failure` may come at any time, also before `begin`: a
    stream that has to wait for its engine has sent its headers and pings by then.

    Events come joined: neighbouring deltas of one kind and choice are one.
    """

    @property
    def headers(self) -> Headers:
        """Of a stream: its content type, and what keeps proxies from holding it back."""

    @property
    def ping(self) -> bytes:
        """Sent when nothing else has been for a while; b"" sends nothing."""

    def begin(self, opened: Opened) -> None:
        """The engine is at work on the call: what the answer tells of it can be known."""

    def opening(self) -> bytes:
        """What comes before any event."""

    def events(self, events: Sequence[Event]) -> bytes:
        """What these become: any number of frames each."""

    def closing(self) -> bytes:
        """What comes after every event."""

    def failure(self, problem: Problem, envelope: Any) -> bytes:
        """What comes instead of the rest. `envelope` is the body that a whole answer would be."""

    def whole(self, events: Sequence[Event]) -> Any:
        """The answer in one piece, as JSON will have it: all events of all choices."""


class ChunkWriter(ABC):
    """A `Writer` whose stream is a chunk for this event and that, every one framed alike."""

    headers: ClassVar[Headers] = sse.HEADERS
    ping: ClassVar[bytes] = sse.PING
    end: ClassVar[bytes] = b""
    """What ends a stream that did not fail."""

    def begin(self, opened: Opened) -> None:  # noqa: B027 - most need nothing of it
        """See `Writer`."""

    def frame(self, chunk: Any) -> bytes:
        """One chunk on the wire. An API whose events have names gives them here."""
        return sse.frame(chunk)

    def first(self) -> Iterable[Any]:
        """Chunks that come before any event."""
        return ()

    @abstractmethod
    def chunks(self, event: Event) -> Iterable[Any]:
        """Chunks for one event."""

    def last(self) -> Iterable[Any]:
        """Chunks that come after every event."""
        return ()

    @abstractmethod
    def whole(self, events: Sequence[Event]) -> Any:
        """The answer in one piece."""

    def opening(self) -> bytes:
        return b"".join(self.frame(chunk) for chunk in self.first())

    def events(self, events: Sequence[Event]) -> bytes:
        return b"".join(self.frame(chunk) for event in events for chunk in self.chunks(event))

    def closing(self) -> bytes:
        return b"".join(self.frame(chunk) for chunk in self.last()) + self.end

    def failure(self, problem: Problem, envelope: Any) -> bytes:  # noqa: ARG002 - some writers tell it in another shape
        return self.frame(envelope)


class LineWriter(ChunkWriter):
    """The same for newline-delimited JSON."""

    headers: ClassVar[Headers] = ndjson.HEADERS
    ping: ClassVar[bytes] = ndjson.PING

    def frame(self, chunk: Any) -> bytes:
        return ndjson.frame(chunk)
