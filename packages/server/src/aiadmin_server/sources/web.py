"""`https://...`: a GGUF file at a web address. `#sha256=HEX` after it says what it must be.

Plain http is for this machine, and for who says `insecure`.
"""

import contextlib
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import httpx

from aiadmin_core.errors import BadRequest, ModelNotFound, PullFailed
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Offer, OfferedFile, Progress

from .downloading import download
from .fetching import Fetcher, first_bytes, host_of, shown_url, unreachable
from .local import GGUF_MAGIC, SPLIT, suggest_name

_FRAGMENT = re.compile(r"sha256[=:]([0-9a-fA-F]{64})")


class Address(NamedTuple):
    url: str
    """Without its fragment."""
    digest: str
    """"" where nobody says."""

    @property
    def file_name(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.url).path)).name

    def parts(self) -> list[str]:
        """The address, or those of all parts of the split model it belongs to."""
        split = SPLIT.fullmatch(self.file_name)
        if split is None:
            return [self.url]
        stem, n_parts = split[1], int(split[3])
        parts = urlsplit(self.url)
        folder = parts.path.rpartition("/")[0]
        names = [f"{stem}-{index:05}-of-{n_parts:05}.gguf" for index in range(1, n_parts + 1)]
        return [parts._replace(path=f"{folder}/{name}").geturl() for name in names]


class Found(NamedTuple):
    """What the server says of a file."""

    url: str
    size: int
    """0 where it does not say."""
    version: str
    """Its ETag or date; "" where parts of it cannot be fetched."""


class WebSource:
    """`https:`, and one more of `http:`."""

    def __init__(self, scheme: str = "https") -> None:
        self.scheme = scheme

    def claims(self, reference: str) -> bool:  # noqa: ARG002 - the protocol's: an address has its scheme in front
        return False

    def origin(self, reference: str) -> str:
        """Without user, query and digest."""
        return shown_url(self._address(reference).url)

    def offer(self, caller: Caller, reference: str) -> Offer:
        address = self._address(reference)
        public_only = caller.over == "http" and not caller.private_addresses
        fetcher = Fetcher(public_only=public_only, insecure=caller.insecure)
        found = [look(fetcher, url) for url in address.parts()]
        return WebOffer(fetcher, address, found, self.origin(reference))

    def _address(self, reference: str) -> Address:
        """Raises `BadRequest`."""
        url, _, fragment = f"{self.scheme}:{reference}".partition("#")
        if not reference.startswith("//") or not urlsplit(url).hostname:
            raise BadRequest(
                f"'{shown_url(url)}' is no web address.", hint="Write `https://HOST/PATH.gguf`.", param="model"
            )
        match = _FRAGMENT.fullmatch(fragment)
        if fragment and not match:
            raise BadRequest(
                f"'#{fragment[:80]}' is no digest.", hint="Write `#sha256=` and 64 hexadecimal digits.", param="model"
            )
        return Address(url, f"sha256:{match[1].lower()}" if match else "")


def look(fetcher: Fetcher, url: str) -> Found:
    """Ask for the first bytes of a file. Raises `PullFailed` for what is no GGUF, `ModelNotFound`."""
    try:
        with fetcher.open(
            "GET", url, {"Range": f"bytes=0-{len(GGUF_MAGIC) - 1}", "Accept-Encoding": "identity"}
        ) as response:
            _expect(response, url)
            magic = first_bytes(response, len(GGUF_MAGIC))
            size, has_ranges = _size_of(response)
            version = response.headers.get("etag") or response.headers.get("last-modified") or ""
    except httpx.HTTPError as error:
        raise unreachable(error, url) from error
    if magic != GGUF_MAGIC:
        raise PullFailed(
            f"What {host_of(url)} has there is no GGUF file.",
            hint="Check the address: it may be that of a page about the file.",
        )
    return Found(url, size, str(version) if has_ranges else "")


class WebOffer:
    """A file at a web address, or the parts of one."""

    manifest_digest = ""

    def __init__(self, fetcher: Fetcher, address: Address, found: Sequence[Found], origin: str) -> None:
        self._fetcher = fetcher
        self._address = address
        self._found = found
        self.origin = origin
        self.files: Sequence[OfferedFile] = tuple(
            OfferedFile(name=_name_of(one.url), size=one.size, digest=address.digest) for one in found
        )
        stem = PurePosixPath(address.file_name).stem
        split = SPLIT.fullmatch(address.file_name)
        self.suggested_name = suggest_name(split[1] if split else stem)
        self.key = " ".join(f"{one.url} {one.version}" for one in found)

    def fetch(
        self, *, workdir: Path, progress: Callable[[Progress], None], held: Callable[[str], Path | None]
    ) -> FetchedModel:
        total = sum(one.size for one in self._found)
        done, files = 0, []
        try:
            for one, offered in zip(self._found, self.files, strict=True):

                def report(n_bytes: int, before: int = done, digest: str = offered.digest) -> None:
                    progress(Progress(status="downloading", completed=before + n_bytes, total=total, digest=digest))

                path = held(offered.digest) if offered.digest else None
                if path is None:
                    path = workdir / offered.name
                    self._download(one, path, report)
                files.append(FetchedFile(path=path, name=offered.name, digest=offered.digest))
                done += one.size
        finally:
            self._fetcher.close()
        return FetchedModel(files=tuple(files), format="gguf", suggested_name=self.suggested_name, origin=self.origin)

    def beginning(self, file: OfferedFile, n_bytes: int) -> bytes:
        url = self._found[self.files.index(file)].url
        headers = {"Range": f"bytes=0-{n_bytes - 1}", "Accept-Encoding": "identity"}
        with self._fetcher.open("GET", url, headers) as response:
            _expect(response, url)
            return first_bytes(response, n_bytes)

    def _download(self, one: Found, path: Path, report: Callable[[int], None]) -> None:
        @contextlib.contextmanager
        def open_range(start: int, end: int | None) -> Generator[httpx.Response, None, None]:
            headers = {"Accept-Encoding": "identity"}
            if end is not None:
                headers |= {"Range": f"bytes={start}-{end - 1}", "If-Range": one.version}
            with self._fetcher.open("GET", one.url, headers) as response:
                _expect(response, one.url)
                yield response

        download(open_range, path, size=one.size, version=one.version, report=report)


def _expect(response: httpx.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status in (404, 410):
        raise ModelNotFound(shown_url(url), hint=f"{host_of(url)} has nothing there: check the address.")
    if status == 429 or status >= 500:
        raise httpx.RemoteProtocolError(f"it answers with status {status}", request=response.request)
    raise PullFailed(f"{host_of(url)} answers with status {status}.", hint="Check the address, and who may have it.")


def _size_of(response: httpx.Response) -> tuple[int, bool]:
    """The whole file's, and whether parts of it can be had."""
    if response.status_code == 206:
        total = response.headers.get("content-range", "").rpartition("/")[2]
        return (int(total), True) if total.isdecimal() else (0, False)
    length = response.headers.get("content-length", "")
    return (int(length) if length.isdecimal() else 0), False


def _name_of(url: str) -> str:
    name = re.sub(r"[^\w.+-]", "_", PurePosixPath(unquote(urlsplit(url).path)).name).lstrip(".")
    return name[:150] or "model.gguf"
