"""The command line's side of HTTP: finds out who listens at the server's address, and asks it for things.

Used by `run`, `ps`, `stop`, `serve` and `doctor`. Never goes through a proxy: the server is named by its address.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import httpx
import msgspec

from aiadmin_core.errors import AiAdminError

GREETING = "AiAdmin is running"
"""What `GET /` of an AiAdmin server starts with."""
PROBE_TIMEOUT_S = 2.0
ANSWER_TIMEOUT = httpx.Timeout(10.0, read=None)
"""A model may take minutes to load before the first byte; Ctrl-C ends the wait."""


class ServerNotRunning(AiAdminError):
    """Nobody, or somebody else, listens where the server should be."""

    code, status = "server_not_running", 503


class ServerRefused(AiAdminError):
    """The server answered with an error; `code` is the server's."""

    def __init__(self, message: str, *, code: str, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who listens at an address."""

    kind: Literal["aiadmin", "stranger", "nobody"]
    version: str = ""
    """Of an aiadmin."""


def probe(url: str, api_key: str = "") -> Listener:
    """Ask who listens at `url`. Never raises; takes at most a few seconds."""
    try:
        with httpx.Client(base_url=url, headers=_headers(api_key), trust_env=False, timeout=PROBE_TIMEOUT_S) as http:
            if not http.get("/").text.startswith(GREETING):  # others have `/api/version` too
                return Listener(kind="stranger")
            return Listener(kind="aiadmin", version=version_in(http.get("/api/version")))
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return Listener(kind="nobody")
    except (httpx.HTTPError, httpx.InvalidURL):
        return Listener(kind="stranger")


def version_in(response: httpx.Response) -> str:
    """The version an AiAdmin server says it has; "" where it does not."""
    try:
        body = response.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    return str(body.get("aiadmin") or body.get("version", ""))  # `version` was our own until there was Ollama's API


class Client:
    """A connection to one AiAdmin server."""

    def __init__(self, url: str, api_key: str = "") -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, headers=_headers(api_key), trust_env=False, timeout=ANSWER_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """The JSON behind `path`. Raises `ServerRefused`, `ServerNotRunning`."""
        with self._reached():
            return _body(self._http.get(path))

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer to `body`. Raises `ServerRefused`, `ServerNotRunning`."""
        with self._reached():
            return _body(self._http.post(path, json=body))

    def stream(self, path: str, body: Any) -> Generator[dict[str, Any], None, None]:
        """The chunks of a streamed answer, up to `[DONE]`. Closing the generator closes the stream, which ends the
        answer on the server. Raises `ServerRefused`, also in mid-stream, and `ServerNotRunning`."""
        with self._reached(), self._http.stream("POST", path, json=body) as response:
            if response.status_code >= 400:
                response.read()
                _body(response)
            for line in lines_of(response.iter_bytes()):
                data = line.removeprefix(b"data:").strip()
                if not line.startswith(b"data:") or data == b"[DONE]":
                    continue
                chunk = msgspec.json.decode(data)
                if isinstance(chunk, dict) and "error" in chunk:
                    raise refusal(chunk, status=200)
                yield chunk

    @contextmanager
    def _reached(self) -> Generator[None, None, None]:
        try:
            yield
        except httpx.ConnectError:
            raise not_running(self.url) from None
        except httpx.HTTPError as error:
            message = f"The connection to {self.url} broke: {error}."
            raise ServerNotRunning(message, hint="The server's log says why.") from error


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a stream, cut at line feeds only: JSON may hold every other character that ends a line for Python."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest:
        yield rest


def connect(url: str, api_key: str = "") -> Client:
    """A client of the AiAdmin server at `url`. Raises `ServerNotRunning` where there is none."""
    listener = probe(url, api_key)
    if listener.kind == "aiadmin":
        return Client(url, api_key)
    raise not_running(url, stranger=listener.kind == "stranger")


def not_running(url: str, *, stranger: bool = False) -> ServerNotRunning:
    """What to say where a server is needed and none is there."""
    if stranger:
        return ServerNotRunning(
            f"The program that listens at {url} is not AiAdmin.",
            hint="Name another address in AIADMIN_HOST (127.0.0.1:11435), for `aiadmin serve` as for this command.",
        )
    return ServerNotRunning(f"No server is running at {url}.", hint="Start it with `aiadmin serve`.")


def _headers(api_key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def _body(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code >= 400:
        raise refusal(body, status=response.status_code)
    return body


def refusal(body: Any, *, status: int) -> ServerRefused:
    """The error in `{"error": {"message", "code", ...}}` or `{"error": "..."}`."""
    error = body.get("error") if isinstance(body, dict) else None
    hint = "The key this command sends is that in AIADMIN_API_KEY." if status == 401 else ""
    if isinstance(error, dict):
        message = str(error.get("message") or f"The server answered {status}.")
        return ServerRefused(message, code=str(error.get("code") or ""), status=status, hint=hint)
    return ServerRefused(str(error or f"The server answered {status}."), code="", status=status, hint=hint)
