"""One repository of one registry, over HTTP. Used by `source` to pull and by `pushing` to push. Blocking."""

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec
from msgspec import Struct

from aiadmin_core.errors import ModelNotFound, PullFailed

from ...store.manifest import MANIFEST_TYPE, digest_of
from ..fetching import Fetcher, read_text, unreachable
from .challenge import basic, read_challenge, read_token
from .location import Location

OCI_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ACCEPTED = f"{MANIFEST_TYPE}, {OCI_MANIFEST_TYPE}"
MAX_WORDS = 300

Body = Callable[[], bytes | Iterator[bytes]]
"""Makes a request's body: once more where the first request was answered with a challenge."""


class _Fault(Struct):
    code: str = ""
    message: str = ""


class _Faults(Struct):
    errors: list[_Fault] = []


_faults_decoder = msgspec.json.Decoder(_Faults)


class RegistryClient:
    """Shows `credentials` to the registry, and to the place it names for tokens, where it asks for them."""

    def __init__(self, location: Location, fetcher: Fetcher, credentials: tuple[str, str] | None = None) -> None:
        self.location = location
        self._fetcher = fetcher
        self._credentials = credentials
        self._authorization = ""
        self._lock = threading.Lock()

    def close(self) -> None:
        self._fetcher.close()

    def manifest(self) -> bytes:
        """Of the location's tag. Raises `ModelNotFound`."""
        where = self.location
        with self._answer("GET", f"/manifests/{where.tag}", {"Accept": ACCEPTED}, ok={200, 404}) as response:
            if response.status_code == 404:
                raise ModelNotFound(
                    where.name.display,
                    hint=f"The registry {where.host} has no '{where.repository}:{where.tag}'. Check name and tag.",
                )
            return read_text(response)

    def text(self, digest: str) -> bytes:
        """A small blob, verified."""
        with self._answer("GET", f"/blobs/{digest}") as response:
            data = read_text(response)
        if digest_of(data) != digest:
            raise PullFailed(
                f"{self.location.host} sent something else than {digest[:19]}: its digest is {digest_of(data)[:19]}.",
                hint="Repeat the command, and do not use the model if the same happens.",
            )
        return data

    @contextlib.contextmanager
    def blob(self, digest: str, start: int, end: int | None) -> Generator[httpx.Response, None, None]:
        """Bytes of a large one. Raises `httpx.TransportError` for what may go away by itself."""
        headers = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
        with self._send("GET", self.url(f"/blobs/{digest}"), headers) as response:
            self._expect(response, {200, 206})
            yield response

    def has(self, digest: str) -> bool:
        with self._answer("HEAD", f"/blobs/{digest}", ok={200, 404}) as response:
            return response.status_code == 200

    def url(self, path: str) -> str:
        return f"{self.location.base_url}/v2/{self.location.repository}{path}"

    def upload(self, digest: str, size: int, body: Body) -> None:
        """Send a blob, as Docker does: all of it in one request, then its digest in another."""
        with self._answer("POST", "/blobs/uploads/", {"Content-Length": "0"}, ok={202, 404}) as response:
            if response.status_code == 404:
                raise PullFailed(
                    f"{self.location.host} does not take the name '{self.location.repository}'.",
                    hint="Registries want lower case, and some only names that were made there before.",
                )
            where = self._next(response)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._answer("PATCH", where, headers, body, ok={202}) as response:
            where = self._next(response)
        separator = "&" if urlsplit(where).query else "?"
        with self._answer("PUT", f"{where}{separator}digest={digest}", {"Content-Length": "0"}, ok={201, 204}):
            pass

    def put_manifest(self, data: bytes, media_type: str) -> None:
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        with self._answer("PUT", f"/manifests/{self.location.tag}", headers, lambda: data, ok={200, 201, 202}):
            pass

    def _next(self, response: httpx.Response) -> str:
        return urljoin(str(response.url), str(response.headers.get("location", "")))

    @contextlib.contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] = {},
        body: Body | None = None,
        *,
        ok: set[int] = {200},  # noqa: B006 - never changed
    ) -> Generator[httpx.Response, None, None]:
        """The response, if its status is one of `ok`. Raises `PullFailed` for whatever else it came to."""
        url = path if "://" in path else self.url(path)
        try:
            with self._send(method, url, headers, body) as response:
                self._expect(response, ok)
                yield response
        except httpx.HTTPError as error:
            raise unreachable(error, url, wanted=self.location.name.display) from error

    @contextlib.contextmanager
    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Generator[httpx.Response, None, None]:
        """The response, once the registry knows who asks."""
        for is_last in (False, True):
            shown = {"Authorization": self._authorization} if self._authorization and self.is_ours(url) else {}
            content = body() if body else None
            with self._fetcher.open(method, url, {**headers, **shown}, content) as response:
                if response.status_code != 401 or is_last:
                    yield response
                    return
                header = response.headers.get("www-authenticate", "")
            self._introduce(header, refused=shown.get("Authorization", ""))

    def is_ours(self, url: str) -> bool:
        return urlsplit(url).netloc.lower() == self.location.host

    def _introduce(self, header: str, *, refused: str) -> None:
        """Get what the registry asks for; nothing where another thread has done so since `refused` was shown."""
        with self._lock:
            if self._authorization != refused:
                return
            challenge = read_challenge(header)
            if challenge.scheme == "bearer" and challenge.realm:
                self._authorization = f"Bearer {self._token(challenge.token_url)}"
            elif challenge.scheme == "basic" and self._credentials and not refused:
                self._authorization = basic(self._credentials)
            else:
                raise self._refused("")

    def _token(self, url: str) -> str:
        headers = {"Authorization": basic(self._credentials)} if self._credentials else {}
        try:
            with self._fetcher.open("GET", url, headers) as response:
                body = read_text(response)
                if response.status_code in (401, 403):
                    raise self._refused(words_of(body))
                self._expect(response, {200}, body)
        except httpx.HTTPError as error:
            raise unreachable(error, url, wanted=self.location.name.display) from error
        try:
            return read_token(body)
        except ValueError as error:
            raise PullFailed(f"{self.location.host} gave no token ({error}).", hint="Try again later.") from None

    def _expect(self, response: httpx.Response, ok: set[int], body: bytes | None = None) -> None:
        status = response.status_code
        if status in ok:
            return
        words = words_of(read_text(response) if body is None else body)
        if status in (401, 403):
            raise self._refused(words)
        if status == 404:
            raise PullFailed(
                f"{self.location.host} does not have all of '{self.location.repository}:{self.location.tag}'{words}.",
                hint="Whoever put it there has to push it again.",
            )
        if status == 429 or status >= 500:  # worth another try
            raise httpx.RemoteProtocolError(f"it answers with status {status}{words}", request=response.request)
        raise PullFailed(f"{self.location.host} answers with status {status}{words}.", hint="Check the name.")

    def _refused(self, words: str) -> PullFailed:
        known = "refuses your credentials for" if self._credentials else "wants to know who you are for"
        return PullFailed(
            f"{self.location.host} {known} '{self.location.repository}'{words}.",
            hint=f"Set AIADMIN_REGISTRY_CREDENTIALS to `{self.location.host}=user:password`, or check the name: some "
            "registries say so of what they do not have.",
        )


def words_of(body: bytes) -> str:
    """What a registry's error says, as the middle of a sentence; "" where it says nothing. Pure."""
    try:
        faults = _faults_decoder.decode(body).errors
    except ValueError:
        return ""
    said = "; ".join(fault.message or fault.code for fault in faults if fault.message or fault.code)
    return f" ({said[:MAX_WORDS]})" if said else ""
