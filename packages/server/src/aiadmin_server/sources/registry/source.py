"""`registry:`, and every text that is a model name: what a registry has under it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aiadmin_core.errors import InvalidName
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Offer, OfferedFile, Progress
from aiadmin_core.specs.model import FileRole

from ...store.manifest import Config, Layer, decode_config, decode_manifest, digest_of, format_of
from ...store.names import parse_name
from ..downloading import download
from ..fetching import Fetcher, first_bytes
from .client import RegistryClient
from .layers import Contents, read_contents
from .location import Location, locate


class RegistryAccess(NamedTuple):
    """How this machine reaches registries."""

    default: str
    """Base URL of the one for names without a host."""
    credentials: Mapping[str, tuple[str, str]] = {}
    """User and password by host and port."""

    def connect(self, location: Location, caller: Caller) -> RegistryClient:
        """A client for `location`. Over HTTP a registry that the caller names has to be public, and is shown no
        credentials: both are for the administrator, who chose the default one."""
        trusted = location.is_default or caller.over == "command line" or caller.private_addresses
        # A registry on plain http may name another host for tokens or blobs; that has to be https, or this machine's.
        insecure = caller.insecure or (location.is_default and location.base_url.startswith("http://"))
        fetcher = Fetcher(public_only=not trusted, insecure=insecure)
        return RegistryClient(location, fetcher, self.credentials.get(location.host) if trusted else None)


class RegistrySource:
    """Names without a host are the default registry's, `host[:port]/namespace/model:tag` another's."""

    scheme = "registry"

    def __init__(self, access: Callable[[], RegistryAccess]) -> None:
        """`access` is asked when something is to be fetched."""
        self._access = access

    def claims(self, reference: str) -> bool:
        try:
            parse_name(reference)
        except InvalidName:
            return False
        return "://" not in reference

    def origin(self, reference: str) -> str:
        return origin_of(locate(reference, self._access().default, Caller(insecure=True)))

    def offer(self, caller: Caller, reference: str) -> Offer:
        access = self._access()
        location = locate(reference, access.default, caller)
        client = access.connect(location, caller)
        manifest = client.manifest()
        return RegistryOffer(client, manifest, read_contents(manifest, location.shown))


class RegistryOffer:
    """A manifest that a registry has."""

    def __init__(self, client: RegistryClient, manifest: bytes, contents: Contents) -> None:
        self._client = client
        self._manifest = manifest
        self._contents = contents
        location = client.location
        self.origin = origin_of(location)
        self.suggested_name = location.name.display
        self.manifest_digest = digest_of(manifest) if contents.is_ours else ""
        self.files: Sequence[OfferedFile] = tuple(
            OfferedFile(name=layer.name or layer.digest, role=role, size=layer.size, digest=layer.digest)
            for role, layer in contents.files
        )
        self.key = "registry:" + " ".join(sorted({layer.digest for _, layer in contents.files}))

    def fetch(
        self, *, workdir: Path, progress: Callable[[Progress], None], held: Callable[[str], Path | None]
    ) -> FetchedModel:
        try:
            return self._fetch(workdir, progress, held)
        finally:
            self._client.close()

    def beginning(self, file: OfferedFile, n_bytes: int) -> bytes:
        with self._client.blob(file.digest, 0, min(n_bytes, file.size or n_bytes)) as response:
            return first_bytes(response, n_bytes)

    def _fetch(
        self, workdir: Path, progress: Callable[[Progress], None], held: Callable[[str], Path | None]
    ) -> FetchedModel:
        texts = {layer.digest: self._client.text(layer.digest) for layer in self._contents.texts}
        done, total = 0, sum(layer.size for _, layer in self._contents.files)
        files = []
        for role, layer in self._contents.files:

            def report(n_bytes: int, before: int = done, digest: str = layer.digest) -> None:
                progress(Progress(status="downloading", completed=before + n_bytes, total=total, digest=digest))

            files.append(self._file(role, layer, workdir, held, report))
            done += layer.size
        location = self._client.location
        if not self._contents.is_ours:
            licenses = [text.decode(errors="replace") for text in texts.values()]
            return FetchedModel(
                files=tuple(files),
                format="gguf",
                suggested_name=self.suggested_name,
                license="\n".join(licenses) or None,
                origin=self.origin,
            )
        manifest = decode_manifest(self._manifest)
        return FetchedModel(
            files=tuple(files),
            format=format_of(manifest, _config(texts.get(manifest.config.digest))),
            suggested_name=location.name.display,
            manifest=self._manifest,
            texts=tuple(texts.values()),
            origin=self.origin,
        )

    def _file(
        self,
        role: FileRole,
        layer: Layer,
        workdir: Path,
        held: Callable[[str], Path | None],
        report: Callable[[int], None],
    ) -> FetchedFile:
        path = held(layer.digest)
        if path is None:
            path = workdir / layer.digest.replace(":", "-")
            download(
                lambda start, end: self._client.blob(layer.digest, start, end),
                path,
                size=layer.size,
                version=layer.digest,
                report=report,
            )
        report(layer.size)
        return FetchedFile(path=path, role=role, name=layer.name, digest=layer.digest)


def origin_of(location: Location) -> str:
    return f"registry:{location.shown}".lower()


def _config(data: bytes | None) -> Config | None:
    try:
        return decode_config(data) if data else None
    except ValueError:
        return None
