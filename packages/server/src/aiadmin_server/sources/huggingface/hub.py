"""The hub's library as this package uses it: listing, fetching, its cache, its errors in words. Imported late: it takes
0.3 s.

It reads HF_TOKEN, HF_HUB_OFFLINE, HF_HOME and the rest of the user's configuration by itself.
"""

import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import httpx2
import huggingface_hub
from huggingface_hub import errors
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils.tqdm import tqdm

from aiadmin_core.errors import ModelNotFound, PullFailed

from ..downloading import Open, download
from ..fetching import Fetcher, first_bytes
from .choosing import RemoteFile

MOST_BYTES = huggingface_hub.constants.MAX_HTTP_DOWNLOAD_SIZE
"""That the hub sends over plain HTTP."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Listing(NamedTuple):
    """What a repository holds."""

    commit: str
    files: tuple[RemoteFile, ...]


class Hub:
    """One hub, as somebody may see it."""

    def __init__(
        self, endpoint: str | None, *, anonymous: bool, cache: Path | None = None, most_bytes: int = MOST_BYTES
    ) -> None:
        """`endpoint` None is the configured one. `anonymous`: with nothing of this machine, neither token nor cache."""
        self._most_bytes = most_bytes
        self._endpoint = endpoint
        self._token = False if anonymous else None
        self._anonymous = anonymous
        self._cache = cache

    def list(self, repo: str, revision: str) -> Listing:
        """Its files, with digests of the large ones; those in the cache where the hub cannot be asked."""
        api = huggingface_hub.HfApi(endpoint=self._endpoint, token=self._token, library_name="aiadmin")
        try:
            with in_words(repo, revision):
                info = api.model_info(repo, revision=revision or None, files_metadata=True)
        except Unreachable as failure:
            if cached := self._cached_listing(repo, revision):
                return cached
            raise failure.error from failure
        files = (
            RemoteFile(
                sibling.rfilename,
                (sibling.lfs.size if sibling.lfs else sibling.size) or 0,
                f"sha256:{sibling.lfs.sha256}" if sibling.lfs else "",
            )
            for sibling in info.siblings or ()
        )
        return Listing(info.sha or "", tuple(files))

    def cached(self, repo: str, name: str, commit: str) -> Path | None:
        """Where the user's cache has a file; None where it has not."""
        if self._anonymous:
            return None
        path = huggingface_hub.try_to_load_from_cache(repo, name, cache_dir=self._cache, revision=commit)
        return Path(path).resolve() if isinstance(path, str) else None

    def fetch(self, repo: str, file: RemoteFile, commit: str, folder: Path, report: Callable[[int], None]) -> Path:
        """A file, fetched into `folder`, where an attempt that broke off is gone on with. (The library begins anew each
        time; it alone gets files that are too large for the hub's servers to send in one piece.)"""
        if file.size > self._most_bytes:
            return self._fetch_by_library(repo, file.name, commit, folder, report)
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(repo, file.name, commit) as open_range:
            download(open_range, path, size=file.size, version=file.digest or commit, report=report)
        return path

    def beginning(self, repo: str, name: str, commit: str, n_bytes: int) -> bytes:
        """The first bytes of a file."""
        with self._opened(repo, name, commit) as open_range, open_range(0, n_bytes) as response:
            return first_bytes(response, n_bytes)

    @contextmanager
    def _opened(self, repo: str, name: str, commit: str) -> Generator[Open, None, None]:
        url = huggingface_hub.hf_hub_url(repo, name, revision=commit, endpoint=self._endpoint)
        headers = build_hf_headers(token=self._token, library_name="aiadmin")
        fetcher = Fetcher(insecure=url.startswith("http:"))  # the endpoint is the administrator's

        @contextmanager
        def open_range(start: int, end: int | None) -> Generator[httpx.Response, None, None]:
            asked = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
            with fetcher.open("GET", url, {**headers, "Accept-Encoding": "identity", **asked}) as response:
                _expect(response, repo)
                yield response

        try:
            yield open_range
        finally:
            fetcher.close()

    def _fetch_by_library(self, repo: str, name: str, commit: str, folder: Path, report: Callable[[int], None]) -> Path:
        with _unwrapped(), in_words(repo, commit):
            path = huggingface_hub.hf_hub_download(
                repo,
                name,
                revision=commit,
                local_dir=folder,
                endpoint=self._endpoint,
                token=self._token,
                library_name="aiadmin",
                tqdm_class=_counting(report),
            )
        return Path(path)

    def _cached_listing(self, repo: str, revision: str) -> Listing | None:
        if self._anonymous:
            return None
        try:
            snapshot = Path(
                huggingface_hub.snapshot_download(
                    repo, revision=revision or None, cache_dir=self._cache, local_files_only=True
                )
            )
        except (errors.LocalEntryNotFoundError, ValueError, OSError):
            return None
        paths = sorted(path for path in snapshot.rglob("*") if path.is_file())
        files = tuple(
            RemoteFile(path.relative_to(snapshot).as_posix(), path.stat().st_size, _digest_in_cache(path))
            for path in paths
        )
        return Listing(snapshot.name, files)


def endpoint_of(endpoint: str | None) -> str:
    """The hub's address: the one given, else the configured one."""
    return (endpoint or huggingface_hub.constants.ENDPOINT).rstrip("/")


def is_offline() -> bool:
    return bool(huggingface_hub.constants.is_offline_mode())


def _expect(response: httpx.Response, repo: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 429 or status >= 500:
        raise httpx.RemoteProtocolError(f"it answers with status {status}", request=response.request)
    if response.headers.get("x-error-code") == "GatedRepo":
        raise _gated(repo)
    raise PullFailed(
        f"The hub answers with status {status} for a file of 'hf.co/{repo}'.",
        hint="Check HF_TOKEN, or that the repository is still there.",
    )


def _gated(repo: str) -> PullFailed:
    return PullFailed(
        f"'hf.co/{repo}' is for those who have agreed to its terms.",
        hint=f"Agree on https://hf.co/{repo}, then set HF_TOKEN to a token of yours (or `hf auth login`) and pull it "
        "on the command line of this machine.",
    )


def _digest_in_cache(path: Path) -> str:
    """The cache names large files by what is in them."""
    name = path.resolve().name
    return f"sha256:{name}" if _SHA256.fullmatch(name) else ""


def _counting(report: Callable[[int], None]) -> type[tqdm]:
    """A progress bar that draws nothing and tells how many bytes there are."""

    class Counting(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            self._is_network = "downloading bytes" in str(options.get("desc"))  # of two bars, the one that compresses
            self._n_bytes = int(options.get("initial") or 0)
            self._null = open(os.devnull, "w")  # noqa: SIM115, PTH123 - closed with the bar
            super().__init__(*arguments, **(options | {"file": self._null, "disable": False}))  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            self._n_bytes += int(n or 0)
            if not self._is_network:
                report(self._n_bytes)
            return None

        def close(self) -> None:
            super().close()
            self._null.close()

    return Counting


class Unreachable(Exception):
    """The hub could not be asked."""

    def __init__(self, error: PullFailed) -> None:
        super().__init__(error.message)
        self.error = error


@contextmanager
def _unwrapped() -> Generator[None, None, None]:
    try:
        yield
    except Unreachable as failure:
        raise failure.error from failure


@contextmanager
def in_words(repo: str, revision: str) -> Generator[None, None, None]:
    """Raises `PullFailed` or `ModelNotFound` for what the library raises, `Unreachable` where the hub was not asked."""
    where = f"hf.co/{repo}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise _gated(repo) from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFound(where, hint=f"The repository has no revision '{revision}'.") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(
            where, hint="The hub has no such repository, or not for you: check its name, and HF_TOKEN if it is private."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise Unreachable(
            PullFailed(
                f"The hub is not asked for '{where}': HF_HUB_OFFLINE is set, and the cache does not have it.",
                hint="Unset HF_HUB_OFFLINE.",
            )
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise PullFailed(
                f"The hub refuses '{where}' (status {status}).", hint="Check HF_TOKEN: it may have run out."
            ) from error
        raise Unreachable(
            PullFailed(f"The hub answers with status {status} for '{where}'.", hint="Try again in a while.")
        ) from error
    except (httpx2.HTTPError, errors.LocalEntryNotFoundError) as error:
        raise Unreachable(
            PullFailed(
                f"The hub cannot be reached for '{where}' ({error or type(error).__name__}).",
                hint="Check the network and HF_ENDPOINT, and repeat the command: what has come so far is kept.",
            )
        ) from error
