"""HTTP as sources speak it: bounded redirects, no way from https to http, errors in words. Used by `registry`, `web`.

Requests are blocking, and may be made on several threads at once.
"""

import contextlib
import ipaddress
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import httpx

from aiadmin_core.errors import NotAllowed, PullFailed
from aiadmin_core.public import REFUSED, PublicTransport

CONNECT_S = 15.0
STALL_S = 30.0
"""Without a byte, a connection counts as dead."""
MAX_REDIRECTS = 10
MAX_TEXT_BYTES = 4 << 20
"""Of an answer that is read as a whole."""
MAX_CONNECTIONS = 16

Send = Callable[[str, str, Mapping[str, str]], AbstractContextManager[httpx.Response]]
"""(method, url, headers) -> the response, its body to be read inside the block."""


class Fetcher:
    """Connections to whatever servers a pull leads to."""

    def __init__(self, *, public_only: bool = False, insecure: bool = False, stall_s: float = STALL_S) -> None:
        """`public_only`: refuse addresses that not everybody can reach, and use no proxy, which might reach them.
        `insecure`: plain http is fine everywhere."""
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
        timeout = httpx.Timeout(stall_s, connect=CONNECT_S, pool=None)
        self.insecure = insecure
        self._client = httpx.Client(
            timeout=timeout,
            trust_env=not public_only,
            **({"transport": PublicTransport(limits=limits)} if public_only else {"limits": limits}),
        )

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def open(
        self, method: str, url: str, headers: Mapping[str, str] = {}, content: bytes | Iterator[bytes] | None = None
    ) -> Generator[httpx.Response, None, None]:
        """The response after its redirects, whatever its status, its body to be read inside the block. Headers that
        say who asks are shown to the first host alone.

        Raises `PullFailed` for what is no sensible answer, `httpx.TransportError` for what may go away by itself.
        """
        shown, asked = dict(headers), url
        for _ in range(MAX_REDIRECTS + 1):
            self.check(url)
            request = self._client.build_request(method, url, headers=shown, content=content)
            response = self._client.send(request, stream=True)
            try:
                if not response.is_redirect or method not in ("GET", "HEAD"):
                    yield response
                    return
                target = str(response.url.join(response.headers["location"]))
            finally:
                response.close()
            if _origin(target) != _origin(url):
                shown.pop("Authorization", None)
            if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https" and not is_loopback(target):
                raise PullFailed(
                    f"{host_of(url)} leads from https to plain http, where anybody on the way can change what comes.",
                    hint="Tell whoever runs it.",
                )
            url = target
        raise PullFailed(
            f"{host_of(asked)} redirects more than {MAX_REDIRECTS} times.",
            hint="Check the address, or try again later.",
        )

    def check(self, url: str) -> None:
        """Raises `PullFailed` for what is no http address, `NotAllowed` for one that is spoken to in the clear."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PullFailed(f"'{shown_url(url)}' is no http or https address.", hint="Check the address.")
        if parts.scheme == "http" and not self.insecure and not is_loopback(url):
            raise NotAllowed(
                f"{host_of(url)} would be spoken to over plain http, where anybody on the way can change what comes.",
                hint="Use https, or `--insecure` where you trust the network.",
            )


def read_text(response: httpx.Response) -> bytes:
    """A body that is small. Raises `PullFailed` where it is not."""
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > MAX_TEXT_BYTES:
            raise PullFailed(
                f"{response.url.host} answers with more than {MAX_TEXT_BYTES} bytes where a short text was expected.",
                hint="Check the address.",
            )
    return bytes(data)


def first_bytes(response: httpx.Response, n: int) -> bytes:
    """The first `n` of a body, or all of a shorter one; the rest is left."""
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) >= n:
            break
    return bytes(data[:n])


def unreachable(error: httpx.HTTPError, url: str, *, wanted: str = "") -> PullFailed:
    """`error` in words, for `url`; `wanted`, where given, is the model that was asked for."""
    host = host_of(url)
    if REFUSED in str(error):
        return PullFailed(
            f"The host '{host}' has an address that is not public.",
            hint="Pull the model on the command line of the server's machine, or set AIADMIN_PRIVATE_SOURCES=1.",
        )
    if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error).upper():
        return PullFailed(
            f"{host} has a certificate that cannot be trusted ({error}).",
            hint="Check the address and this machine's clock; SSL_CERT_FILE names the certificates that are trusted.",
        )
    if isinstance(error, httpx.TimeoutException):
        return PullFailed(f"{host} does not answer.", hint="Try again; what has come so far is kept.")
    if isinstance(error, httpx.ProtocolError):
        return PullFailed(
            f"The transfer with {host} broke off: {error}.", hint="Repeat the command: what has come so far is kept."
        )
    whom = f" for '{wanted}'" if wanted else ""
    return PullFailed(
        f"{host} cannot be reached{whom} ({error or type(error).__name__}).",
        hint="Check the address and the network, and repeat the command: what has come so far is kept.",
    )


def host_of(url: str) -> str:
    """Host and port, for people: never a user or password."""
    return urlsplit(url).netloc.rpartition("@")[2] or shown_url(url)


def shown_url(url: str) -> str:
    """Without what may be secret: user, password, query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()[:200]


def is_loopback(url: str) -> bool:
    """Whether the host of `url` is this machine, by its name alone."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
