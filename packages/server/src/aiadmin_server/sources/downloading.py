"""One large file over HTTP: in parts side by side, going on where an earlier attempt ended. Used by `registry`, `web`.

The file is written in place as `NAME.part`; `NAME.parts` beside it says how far each part is, and is always behind what
has been written, never ahead. Workers fetch and write; the caller's thread reports, writes that file, and ends them
when it is interrupted.
"""

import contextlib
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import RawIOBase
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from aiadmin_core.errors import PullFailed

from .fetching import unreachable

PART_BYTES = 64 << 20
MAX_PARTS = 256
N_STREAMS = 4
CHUNK_BYTES = 256 << 10
REPORT_EVERY_S = 0.1
N_TRIES = 6
"""In a row without a byte, of one part."""
BACKOFF_S = 1.0
JOIN_S = 1.0
"""For a worker to see that it is to stop; one that waits for a byte sees it when that comes, and writes no more."""

Open = Callable[[int, int | None], AbstractContextManager[httpx.Response]]
"""Ask for the bytes from the first on, before the second (None: to the end): the response, to be read in the block.
Its status is 200 or 206; anything else is for the opener to raise. From 0 to None no range is asked for."""


class Part(Struct):
    """Bytes [start, end) of a file, of which the first `done` are there."""

    start: int
    end: int
    done: int = 0

    @property
    def missing(self) -> int:
        return self.end - self.start - self.done


class Parts(Struct):
    """How far a file is."""

    size: int
    version: str
    """What the server calls this state of the file (its digest, an ETag): parts of another one are worth nothing."""
    parts: list[Part]

    @property
    def done(self) -> int:
        return sum(part.done for part in self.parts)


class RangesIgnored(Exception):
    """The server sends the whole file whatever range it is asked for."""


_decoder = msgspec.json.Decoder(Parts)
_encoder = msgspec.json.Encoder()


def download(
    open_range: Open,
    target: Path,
    *,
    size: int,
    version: str,
    report: Callable[[int], None],
    n_streams: int = N_STREAMS,
    part_bytes: int = PART_BYTES,
    backoff_s: float = BACKOFF_S,
) -> None:
    """Make `target` the file of `size` bytes (0: unknown, then it comes as one stream from its beginning). A target
    that is there already is taken for whole. `report` is told the bytes that are there.

    Interrupted by whatever `report` raises and by Ctrl-C; what has come is kept. Raises `PullFailed`, `OSError`.
    """
    if target.exists():
        report(target.stat().st_size)
        return
    partial, journal = partial_of(target), target.with_name(f"{target.name}.parts")
    if not size or not version:
        _stream_whole(open_range, partial, size, report)
    else:
        state = resume(partial, journal, size=size, version=version, part_bytes=part_bytes)
        try:
            _Download(open_range, partial, journal, state, report, backoff_s).run(n_streams)
        except RangesIgnored:
            journal.unlink(missing_ok=True)
            _stream_whole(open_range, partial, size, report)
    partial.replace(target)
    journal.unlink(missing_ok=True)


def partial_of(target: Path) -> Path:
    """What a file is called until it is whole."""
    return target.with_name(f"{target.name}.part")


def resume(partial: Path, journal: Path, *, size: int, version: str, part_bytes: int) -> Parts:
    """How far the file is: as noted, or not begun where nothing is noted of this version of it."""
    with contextlib.suppress(OSError, ValueError):
        state = _decoder.decode(journal.read_bytes())
        on_disk = partial.stat().st_size
        written = all(not part.done or part.start + part.done <= on_disk for part in state.parts)
        if (state.size, state.version) == (size, version) and written:
            return state
    partial.unlink(missing_ok=True)
    return Parts(size=size, version=version, parts=cut(size, part_bytes))


def cut(size: int, part_bytes: int) -> list[Part]:
    """`size` bytes in parts of about `part_bytes`, at most `MAX_PARTS`. Pure."""
    step = max(part_bytes, math.ceil(size / MAX_PARTS))
    return [Part(start, min(start + step, size)) for start in range(0, size, step)]


class _Download:
    """A download under way."""

    def __init__(
        self,
        open_range: Open,
        partial: Path,
        journal: Path,
        state: Parts,
        report: Callable[[int], None],
        backoff_s: float,
    ) -> None:
        self._open_range = open_range
        self._partial = partial
        self._journal = journal
        self._state = state
        self._report = report
        self._backoff_s = backoff_s
        self._stopped = threading.Event()

    def run(self, n_streams: int) -> None:
        self._partial.touch()
        missing = deque(part for part in self._state.parts if part.missing)
        ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        workers = [
            # Daemons: who waits for a server that has fallen silent must not hold up a Ctrl-C.
            threading.Thread(target=self._work, args=(missing, ended), name="aiadmin-download", daemon=True)
            for _ in range(min(n_streams, len(missing)))
        ]
        for worker in workers:
            worker.start()
        try:
            self._watch(ended, len(workers))
        finally:
            self._stopped.set()
            for worker in workers:
                worker.join(JOIN_S)
            self._note()

    def _watch(self, ended: "queue.SimpleQueue[Exception | None]", n_workers: int) -> None:
        """Report and take notes until all workers are done. Raises what the first one that fails does."""
        noted = -1
        while n_workers:
            with contextlib.suppress(queue.Empty):
                failure = ended.get(timeout=REPORT_EVERY_S)
                n_workers -= 1
                if failure is not None:
                    raise failure
            done = self._state.done
            if done != noted:
                self._note()
                noted = done
            self._report(done)

    def _work(self, missing: deque[Part], ended: "queue.SimpleQueue[Exception | None]") -> None:
        failure = None
        try:
            while missing and not self._stopped.is_set():
                self._fetch(missing.popleft())
        except IndexError:  # another worker was faster
            pass
        except Exception as error:
            failure = error
        ended.put(failure)

    def _fetch(self, part: Part) -> None:
        """Fetch one part, again and again while there is progress."""
        n_failed = 0
        while part.missing and not self._stopped.is_set():
            before = part.done
            try:
                self._fetch_once(part)
            except httpx.TransportError as error:
                n_failed = 1 if part.done > before else n_failed + 1
                if n_failed >= N_TRIES:
                    raise unreachable(error, _url_of(error)) from error
                self._stopped.wait(self._backoff_s * (2 ** (n_failed - 1)))

    def _fetch_once(self, part: Part) -> None:
        start = part.start + part.done
        with self._open_range(start, part.end) as response, self._partial.open("rb+", buffering=0) as file:
            if response.status_code != 206 or not _begins_at(response, start):
                raise RangesIgnored
            file.seek(start)
            for chunk in response.iter_raw():  # as they come: of chunks of a size of ours, the last would be lost
                if self._stopped.is_set():
                    return
                useful = chunk[: part.missing]
                _write_all(file, useful)
                part.done += len(useful)
                if not part.missing:
                    return
        if part.missing:
            raise httpx.RemoteProtocolError("the connection ended too early", request=response.request)

    def _note(self) -> None:
        """Write down how far the parts are: what is noted has been written before."""
        temporary = self._journal.with_name(f"{self._journal.name}.{os.getpid()}")
        temporary.write_bytes(_encoder.encode(self._state))
        temporary.replace(self._journal)


def _stream_whole(open_range: Open, partial: Path, size: int, report: Callable[[int], None]) -> None:
    """Of a server that can only send everything: from the beginning, in one go."""
    done = 0
    try:
        with open_range(0, None) as response, partial.open("wb") as file:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                report(done)
    except httpx.TransportError as error:
        raise unreachable(error, _url_of(error)) from error
    if size and done != size:
        raise PullFailed(f"{done} bytes came instead of {size}.", hint="Repeat the command.")


def _write_all(file: RawIOBase, data: bytes) -> None:
    """An unbuffered file may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _begins_at(response: httpx.Response, start: int) -> bool:
    """Whether a 206 has what was asked for: https://www.rfc-editor.org/rfc/rfc9110#section-14.4"""
    return str(response.headers.get("content-range", "")).startswith(f"bytes {start}-")


def _url_of(error: httpx.TransportError) -> str:
    try:
        return str(error.request.url)
    except RuntimeError:  # it was made without one
        return "the server"


def chunks_of(path: Path, report: Callable[[int], None]) -> Iterator[bytes]:
    """A file's bytes, telling how many were taken."""
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            report(done)
