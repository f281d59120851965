"""A pull from a source that says beforehand what it has. Used by `pull`.

What is there already is not fetched: the whole model, or a file of it that another one has. Pulls of the same bytes,
whatever they are called, take turns and share what has come.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace as replace_fields

from aiadmin_core.errors import PullFailed
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import CatalogueEntry, FetchedModel, Offer, Progress

from .forecast import Forecast, forecast
from .sources.beginnings import Estimate, foretold
from .sources.inspecting import inspect
from .store.adding import refuse_replacing
from .store.disk import disk_errors, need_room, sweep
from .store.store import ModelStore, StoredModel

ABANDONED_AFTER_S = 30 * 24 * 3600.0
"""What an interrupted pull has fetched is kept this long."""


class Offered:
    """An offer, and what the catalogue or whoever asks knows of it."""

    def __init__(self, scheme: str, offer: Offer, entry: CatalogueEntry | None, expected_digest: str) -> None:
        self._offer = offer
        self._entry = entry
        self._expected_digest = expected_digest
        self._key = f"{scheme}:{offer.key}"

    def store(
        self,
        name: str,
        store: ModelStore,
        plugins: Plugins,
        progress: Callable[[Progress], None],
        foresee: Callable[[Forecast], None],
        estimate: Estimate | None,
        *,
        replace: bool,
    ) -> StoredModel:
        """Fetch it and store it under `name`. Raises `PullFailed`, `ModelExists`, `StoreError`."""
        self._refuse_other_digest()
        here = self._already_here(name, store, progress, replace=replace)
        if here is None:

            def waiting() -> None:
                progress(Progress(status="waiting for another pull of the same files"))

            with store.pull_lock(self._key, waiting=waiting):
                here = self._already_here(name, store, progress, replace=replace)
                if here is None:
                    return self._fetch(name, store, plugins, progress, foresee, estimate, replace=replace)
        progress(Progress(status="already here and complete"))
        return here

    def _refuse_other_digest(self) -> None:
        first = next((file for file in self._offer.files if file.role == "model"), None)
        if first is not None and first.digest and self._expected_digest not in ("", first.digest):
            raise PullFailed(
                f"'{first.name}' is not the file it should be: its digest is {first.digest} instead of "
                f"{self._expected_digest}.",
                hint="Its source has another version by now. Leave the digest out to get that.",
            )

    def _already_here(
        self, name: str, store: ModelStore, progress: Callable[[Progress], None], *, replace: bool
    ) -> StoredModel | None:
        """The model, where a pull would only bring the same: its files are what they should be (with `replace`, every
        byte of them). Raises `ModelExists` where it must not be replaced."""
        existing = store.find(name)
        if existing is None:
            return None
        same = self._is_same(existing)
        if not replace and not same:
            refuse_replacing(existing, self._origin(existing))
        return existing if same and store.intact(existing, thorough=replace, progress=progress) else None

    def _is_same(self, existing: StoredModel) -> bool:
        if self._offer.manifest_digest:
            return existing.digest == self._offer.manifest_digest
        wanted = {file.digest for file in self._offer.files}
        have = {file.digest for file in existing.files}
        return existing.origin == self._origin(existing) and "" not in wanted and wanted == have

    def _origin(self, existing: StoredModel | None) -> str:
        """Of the model to be stored: as it is known already, where only the case differs, in which names of hubs and
        registries are written one way or the other."""
        ours = self._offer.origin
        return existing.origin if existing and existing.origin.lower() == ours.lower() else ours

    def _fetch(
        self,
        name: str,
        store: ModelStore,
        plugins: Plugins,
        progress: Callable[[Progress], None],
        foresee: Callable[[Forecast], None],
        estimate: Estimate | None,
        *,
        replace: bool,
    ) -> StoredModel:
        """Holding the pull's lock."""
        workdir = store.workdir(self._key)
        held = store.held(self._digests, thorough=replace, progress=progress)
        with disk_errors("fetching the model", workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            workdir.touch()  # going on with an old pull makes it a new one: nobody may take it for abandoned meanwhile
            sweep(workdir.parent, older_than_s=ABANDONED_AFTER_S)
            missing = sum(file.size for file in self._offer.files if file.digest not in held)
            missing = max(0, missing - _allocated(workdir))
            found = foretold(name, self._offer, held, estimate) if estimate else None
            foresee(forecast(name, missing, sum(file.size for file in self._offer.files), workdir, found))
            need_room(workdir, missing)
            fetched = self._filled_in(
                self._offer.fetch(workdir=workdir, progress=progress, held=held.get), store.find(name)
            )
            try:
                model = store.add(
                    name,
                    fetched,
                    replace=replace,
                    progress=progress,
                    info=inspect(fetched, plugins.backends()),
                    expected_digest=self._expected_digest,
                )
            except PullFailed:
                shutil.rmtree(workdir, ignore_errors=True)  # what came is not what was asked for
                raise
        shutil.rmtree(workdir, ignore_errors=True)
        progress(Progress(status="success"))
        return model

    @property
    def _digests(self) -> list[str]:
        return [file.digest for file in self._offer.files if file.digest]

    def _filled_in(self, fetched: FetchedModel, existing: StoredModel | None) -> FetchedModel:
        """With what the catalogue says, where the model says nothing itself."""
        fetched = replace_fields(fetched, origin=self._origin(existing))
        if self._entry is None or fetched.manifest:
            return fetched
        return replace_fields(
            fetched,
            license=fetched.license or self._entry.license or None,
            parameters=self._entry.parameters | dict(fetched.parameters),
        )


def _allocated(folder: Path) -> int:
    """Bytes that a folder's files take on the disk: one that is being fetched has holes."""
    found = 0
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            found += getattr(status, "st_blocks", status.st_size // 512) * 512
    return found
