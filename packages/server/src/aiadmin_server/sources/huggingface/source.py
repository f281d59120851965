"""`hf:`, and every text that begins with the hub's host: a model of Hugging Face's hub."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from aiadmin_core.errors import InvalidName
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Offer, OfferedFile, Progress
from aiadmin_core.specs.model import FileRole

from ...forecast import USABLE, machine_memory, needed_memory
from ...store.names import parse_name
from ..local import suggest_name
from .choosing import Chosen, RemoteFile, choose
from .reference import HOSTS, Wanted, is_of_hub, parse


class HuggingFaceSource:
    """Without a tag, the best quantization that fits into this machine's memory."""

    scheme = "hf"

    def __init__(self, endpoint: str | None = None, cache: Path | None = None) -> None:
        """None: as the hub's library is configured."""
        self._endpoint = endpoint
        self._cache = cache

    def claims(self, reference: str) -> bool:
        return is_of_hub(reference)

    def origin(self, reference: str) -> str:
        """The repository and what is asked of it, without the revision: a newer one may replace an older one."""
        wanted = parse(reference)
        return f"hf:{wanted.repo}:{wanted.tag}".rstrip(":")

    def offer(self, caller: Caller, reference: str) -> Offer:
        from .hub import Hub  # 0.3 s

        wanted = parse(reference)
        anonymous = caller.over == "http" and not caller.private_addresses
        hub = Hub(self._endpoint, anonymous=anonymous, cache=self._cache)
        listing = hub.list(wanted.repo, wanted.revision)
        memory = int(machine_memory() * USABLE)
        chosen = choose(listing.files, wanted.tag, repo=wanted.repo, memory_bytes=memory, needed=needed_memory)
        return HubOffer(hub, HOSTS[0], wanted, listing.commit, chosen, self.origin(reference))


class Repositories(Protocol):
    """A hub, as somebody may see it: files by repository and commit."""

    def cached(self, repo: str, name: str, commit: str) -> Path | None: ...
    def fetch(self, repo: str, file: RemoteFile, commit: str, folder: Path, report: Callable[[int], None]) -> Path: ...
    def beginning(self, repo: str, name: str, commit: str, n_bytes: int) -> bytes: ...


class HubOffer:
    """Files of a repository, as of one commit."""

    manifest_digest = ""

    def __init__(self, hub: Repositories, host: str, wanted: Wanted, commit: str, chosen: Chosen, origin: str) -> None:
        self._hub = hub
        self._wanted = wanted
        self._commit = commit
        self._chosen = chosen
        self.origin = origin
        self.suggested_name = name_of(host, wanted.repo, chosen.label)
        self.files: Sequence[OfferedFile] = tuple(
            OfferedFile(name=file.name, role=role, size=file.size, digest=file.digest) for role, file in chosen.files
        )
        large = sorted(file.digest for _, file in chosen.files if file.digest)
        self.key = f"{wanted.repo}@{commit} {' '.join(large)}"

    def fetch(
        self, *, workdir: Path, progress: Callable[[Progress], None], held: Callable[[str], Path | None]
    ) -> FetchedModel:
        done, total = 0, sum(file.size for _, file in self._chosen.files)
        digest = next((file.digest for role, file in self._chosen.files if role == "model"), "")
        files = []
        for role, file in self._chosen.files:

            def report(n_bytes: int, before: int = done) -> None:
                progress(Progress(status="downloading", completed=before + n_bytes, total=total, digest=digest))

            files.append(self._file(role, file, workdir, held, report))
            done += file.size
            report(0, done)
        return FetchedModel(
            files=tuple(files),
            format=self._chosen.model_format,
            suggested_name=self.suggested_name,
            origin=self.origin,
        )

    def beginning(self, file: OfferedFile, n_bytes: int) -> bytes:
        cached = self._hub.cached(self._wanted.repo, file.name, self._commit)
        if cached is None:
            return self._hub.beginning(self._wanted.repo, file.name, self._commit, n_bytes)
        with cached.open("rb") as whole:
            return whole.read(n_bytes)

    def _file(
        self,
        role: FileRole,
        file: RemoteFile,
        workdir: Path,
        held: Callable[[str], Path | None],
        report: Callable[[int], None],
    ) -> FetchedFile:
        name = file.name if self._chosen.model_format == "safetensors" else Path(file.name).name
        path = held(file.digest) if file.digest else None
        if path is not None:
            return FetchedFile(path=path, role=role, name=name, digest=file.digest)
        cached = self._hub.cached(self._wanted.repo, file.name, self._commit)
        if cached is not None:
            return FetchedFile(path=cached, role=role, name=name, digest=file.digest, keep_in_place=True)
        fetched = self._hub.fetch(self._wanted.repo, file, self._commit, workdir, report)
        return FetchedFile(path=fetched, role=role, name=name, digest=file.digest)


def name_of(host: str, repo: str, label: str) -> str:
    """What the model is called here: as other programs of this layout call it, where the repository's name allows."""
    name = f"{host}/{repo}{f':{label}' if label else ''}"
    try:
        return parse_name(name).display
    except InvalidName:
        return suggest_name(f"{repo.rpartition('/')[2]}-{label}".rstrip("-"))
