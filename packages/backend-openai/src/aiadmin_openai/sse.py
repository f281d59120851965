"""Server-sent events, read: bytes in pieces of any size -> the data of each event. Called by the engine."""

from .failures import StreamBroken

MAX_BUFFER = 16 * 1024 * 1024
"""Bytes an event may have; an upstream that sends more without an end is no event stream."""


class EventStreamReader:
    """Splits at line feeds only: a JSON text may hold every other character that `str.splitlines` takes for one.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that are complete now. Raises `StreamBroken` past `MAX_BUFFER`."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        found = [data for line in lines if (data := self._line(line.removesuffix(b"\r"))) is not None]
        if len(self._rest) + sum(map(len, self._data)) > MAX_BUFFER:
            raise StreamBroken("it sent an event without an end")
        return found

    def end(self) -> list[bytes]:
        """What a server that forgot the last empty line meant to send."""
        return [data for line in (self._rest, b"") if (data := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            return data
        return None
