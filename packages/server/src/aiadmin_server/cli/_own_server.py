"""A server that one command starts for itself: `aiadmin run` where none is running.

It listens on a free loopback port, announces it as one line of JSON, and watches its standard input, which this
process holds open: the server ends when the command does, also when that is killed.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import IO, Self

import msgspec

from aiadmin_core.errors import AiAdminError

from ._client import ServerNotRunning

LOG_TAIL_LINES = 15
END_TIMEOUT_S = 10.0
NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""What Windows has in the place of a new session."""


class ServerDidNotStart(AiAdminError):
    """The server this command started for itself ended before it was ready."""

    code, status = "server_did_not_start", 503


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What the child prints when it is ready."""

    url: str


def announce_to_parent(url: str) -> None:
    """Say, in the child, that it is ready."""
    sys.stdout.buffer.write(msgspec.json.encode(Announcement(url=url)) + b"\n")
    sys.stdout.buffer.flush()


@dataclass
class OwnServer:
    """The child process. A context manager; `url` is where it listens."""

    url: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __enter__(self) -> Self:
        # -P: a module of the user's in the folder they are in (`random.py`) is none of ours.
        ours = [sys.executable, "-P", "-m", "aiadmin_server"]
        command = [*ours, "serve", "--host", "127.0.0.1", "--port", "0", "--child"]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own arguments
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C on this terminal is for the command, which then ends its server
            creationflags=NEW_GROUP,
        )
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
            if not line:
                self._process.wait()
                raise ServerDidNotStart("The server ended before it was ready.", hint=self.log_tail())
            self.url = msgspec.json.decode(line, type=Announcement).url
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, kind: object = None, error: object = None, trace: object = None) -> None:
        """End the child. Where it had ended under a request, the error says what its last words were."""
        process = self._process
        assert process
        assert process.stdin
        assert process.stdout
        if isinstance(error, ServerNotRunning) and (words := self.log_tail()):
            error.hint = f"The last words of the server that was started for this command:\n{words}"
        process.stdin.close()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._log.close()

    def log_tail(self) -> str:
        """The last lines the server wrote to stderr."""
        self._log.seek(0)
        return "\n".join(self._log.read().decode(errors="replace").rstrip("\n").split("\n")[-LOG_TAIL_LINES:])
