"""`modelscope:`, and every text that begins with its host: a model of ModelScope's hub, by its own protocol over HTTP.

Listings are at `/api/v1/models/REPOSITORY/repo/files`, files at `/models/REPOSITORY/resolve/REVISION/PATH` (`HubApi` of
https://github.com/modelscope/modelscope). What is not public is not fetched.
"""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import httpx
import msgspec

from aiadmin_core.errors import ModelNotFound, PullFailed
from aiadmin_core.sources import Caller, Offer

from ..forecast import USABLE, machine_memory, needed_memory
from .downloading import download
from .fetching import Fetcher, first_bytes, host_of, read_text, unreachable
from .huggingface.choosing import RemoteFile, choose
from .huggingface.reference import is_of_hub, parse
from .huggingface.source import HubOffer

HOSTS = ("modelscope.cn", "www.modelscope.cn")
TRUNK = "master"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelScopeSource:
    """Without a tag, the best quantization that fits into this machine's memory."""

    scheme = "modelscope"

    def __init__(self, endpoint: str = f"https://{HOSTS[0]}") -> None:
        self._endpoint = endpoint.rstrip("/")

    def claims(self, reference: str) -> bool:
        return is_of_hub(reference, HOSTS)

    def origin(self, reference: str) -> str:
        wanted = parse(_without_models(reference), HOSTS, trunk=TRUNK)
        return f"modelscope:{wanted.repo}:{wanted.tag}".rstrip(":")

    def offer(self, caller: Caller, reference: str) -> Offer:
        wanted = parse(_without_models(reference), HOSTS, trunk=TRUNK)
        public_only = caller.over == "http" and not caller.private_addresses
        hub = ModelScope(self._endpoint, public_only=public_only)
        revision = wanted.revision or TRUNK
        files = hub.list(wanted.repo, revision)
        memory = int(machine_memory() * USABLE)
        chosen = choose(files, wanted.tag, repo=wanted.repo, memory_bytes=memory, needed=needed_memory)
        return HubOffer(hub, HOSTS[0], wanted, revision, chosen, self.origin(reference))


class ModelScope:
    """The hub, as everybody may see it."""

    def __init__(self, endpoint: str, *, public_only: bool) -> None:
        self._endpoint = endpoint
        self._public_only = public_only

    def list(self, repo: str, revision: str) -> tuple[RemoteFile, ...]:
        """Its files, with their digests. Raises `ModelNotFound`, `PullFailed`."""
        asked = urlencode({"Revision": revision, "Recursive": "true"})
        url = f"{self._endpoint}/api/v1/models/{repo}/repo/files?{asked}"
        fetcher = self._fetcher()
        try:
            with fetcher.open("GET", url, {"Accept": "application/json"}) as response:
                _expect(response, repo)
                return read_listing(read_text(response), repo)
        except httpx.HTTPError as error:
            raise unreachable(error, url, wanted=repo) from error
        finally:
            fetcher.close()

    def cached(self, repo: str, name: str, commit: str) -> Path | None:  # noqa: ARG002 - a hub's: this one has none
        return None

    def fetch(self, repo: str, file: RemoteFile, commit: str, folder: Path, report: Callable[[int], None]) -> Path:
        """A file, fetched into `folder`, where an attempt that broke off is gone on with."""
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        fetcher = self._fetcher()

        @contextmanager
        def open_range(start: int, end: int | None) -> Generator[httpx.Response, None, None]:
            with self._opened(fetcher, repo, file.name, commit, start, end) as response:
                yield response

        try:
            download(open_range, path, size=file.size, version=file.digest or commit, report=report)
        finally:
            fetcher.close()
        return path

    def beginning(self, repo: str, name: str, commit: str, n_bytes: int) -> bytes:
        """The first bytes of a file."""
        fetcher = self._fetcher()
        try:
            with self._opened(fetcher, repo, name, commit, 0, n_bytes) as response:
                return first_bytes(response, n_bytes)
        finally:
            fetcher.close()

    @contextmanager
    def _opened(
        self, fetcher: Fetcher, repo: str, name: str, revision: str, start: int, end: int | None
    ) -> Generator[httpx.Response, None, None]:
        url = f"{self._endpoint}/models/{repo}/resolve/{quote(revision, safe='')}/{quote(name)}"
        asked = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
        with fetcher.open("GET", url, {"Accept-Encoding": "identity", **asked}) as response:
            _expect(response, repo)
            yield response

    def _fetcher(self) -> Fetcher:
        return Fetcher(public_only=self._public_only, insecure=self._endpoint.startswith("http:"))


def read_listing(data: bytes, repo: str) -> tuple[RemoteFile, ...]:
    """Pure. Raises `PullFailed` for what is no listing, `ModelNotFound`."""
    try:
        answer = msgspec.json.decode(data)
        if answer.get("Code") in (404, 10010205001):
            _missing(repo)
        files = [one for one in answer["Data"]["Files"] if one.get("Type", "blob") == "blob"]
        return tuple(RemoteFile(one["Path"], int(one["Size"]), _digest(one)) for one in files)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise PullFailed(
            f"The hub does not list the files of '{HOSTS[0]}/{repo}': {data[:200].decode(errors='replace')}",
            hint="Check the name on its pages, or try again later.",
        ) from error


def _digest(file: dict[str, Any]) -> str:
    """Of the files that are stored by theirs."""
    sha256 = str(file.get("Sha256") or "")
    return f"sha256:{sha256}" if _SHA256.fullmatch(sha256) and file.get("IsLFS", True) else ""


def _without_models(reference: str) -> str:
    """Pages are under `/models/`."""
    return re.sub(r"^((?:https?://)?(?:www\.)?modelscope\.cn)/models/", r"\1/", reference, flags=re.IGNORECASE)


def _expect(response: httpx.Response, repo: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 404:
        _missing(repo)
    if status == 429 or status >= 500:
        raise httpx.RemoteProtocolError(f"it answers with status {status}", request=response.request)
    raise PullFailed(
        f"{host_of(str(response.url))} answers with status {status} for '{repo}'.",
        hint="Only what everybody may have is fetched from there.",
    )


def _missing(repo: str) -> NoReturn:
    raise ModelNotFound(f"{HOSTS[0]}/{repo}", hint="The hub has no such model, or not for everybody: check the name.")
