"""`pull`: from a reference to a model in the store. Used by the command line.

A reference is a name of the catalogue, `scheme:rest` for a source, or a path.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace as replace_fields

from aiadmin_core.errors import BadRequest, ModelNotFound, NotAllowed, PullFailed, StoreError
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import (
    Caller,
    CatalogueEntry,
    FetchedModel,
    Progress,
    ServesCallers,
    Source,
    TellsOrigin,
)

from .catalogue import catalogue, find_entry
from .sources.inspecting import inspect, own_format
from .sources.installed import installed_sources
from .sources.local import LocalSource, local_path
from .store.adding import refuse_replacing
from .store.disk import disk_errors, need_room, sweep
from .store.store import ModelStore, StoredModel

ABANDONED_AFTER_S = 30 * 24 * 3600.0
"""What an interrupted pull has fetched is kept this long."""


class Order(Struct, frozen=True, kw_only=True):
    """What is to be pulled, and from where."""

    source: Source
    reference: str
    """Without its scheme."""
    origin: str
    """"" where the source tells only with the model."""
    entry: CatalogueEntry | None = None
    """The catalogue's word on it."""
    caller: Caller = Caller()

    @property
    def key(self) -> str:
        """Equal for pulls that fetch the same: they share a folder, and wait for each other."""
        return f"{self.source.scheme}:{self.reference}"


def pull(
    reference: str,
    *,
    name: str | None = None,
    store: ModelStore,
    plugins: Plugins,
    progress: Callable[[Progress], None],
    replace: bool = False,
    caller: Caller = Caller(),
) -> StoredModel:
    """Fetch what `reference` names and store it, under `name` if that is given. Blocking.

    What `caller` may have fetched is for the sources to say; the catalogue's references are the administrator's.

    May be interrupted at any point: no half model is ever seen, and the next pull of the same reference goes on from
    what is there. A second pull of it meanwhile waits for the first. Raises `ModelNotFound`, `InvalidName`,
    `PullFailed`, `ModelExists`, `NotAllowed`, `StoreError`.
    """
    order = plan(reference, catalogue(plugins), installed_sources(plugins), caller)
    entry = order.entry
    name = name or (entry.name if entry else None)
    here = _already_here(order, name, store, progress, replace=replace)
    if here is None:

        def waiting() -> None:
            progress(Progress(status="waiting for another pull of the same model"))

        with store.pull_lock(order.key, waiting=waiting):
            here = _already_here(order, name, store, progress, replace=replace)
            if here is None:
                return _fetch(order, name, store, plugins, progress, replace=replace)
    progress(Progress(status="already here and complete"))
    return here


def plan(
    reference: str, entries: Sequence[CatalogueEntry], sources: Sequence[Source], caller: Caller = Caller()
) -> Order:
    """Which source is to fetch what. Pure, but for sources that look whether a path exists: not for callers over HTTP,
    who would learn it.

    Raises `NotAllowed`, `ModelNotFound`, `BadRequest` for what no source takes, and whatever a source finds wrong with
    the reference.
    """
    entry = find_entry(entries, reference) or next((one for one in entries if one.reference == reference), None)
    text = entry.reference if entry else reference
    scheme, _, rest = text.partition(":")
    source = next((source for source in sources if rest and source.scheme.lower() == scheme.lower()), None)
    if source is None and scheme.lower() in ("http", "https") and rest.startswith("//"):
        raise BadRequest(
            "Web addresses are not fetched.", hint="Download the file, then `aiadmin pull FILE`.", param="model"
        )
    if source is None:
        rest = text
        asked = sources if caller.over == "command line" else [one for one in sources if isinstance(one, ServesCallers)]
        source = next((source for source in asked if source.claims(text)), None)
    if source is None and "/" in rest and scheme.isalnum():  # `name:tag` has a colon too, and no slash after it
        known = ", ".join(sorted(source.scheme for source in sources))
        raise BadRequest(f"No source is called '{scheme}'.", hint=f"There are: {known}.", param="model")
    if source is None:
        names = ", ".join(entry.name for entry in entries)
        schemes = ", ".join(f"{source.scheme}:" for source in sources)
        raise ModelNotFound(
            reference,
            hint=f"The catalogue has: {names}. Other models are named by where they are: a path, or a text that begins "
            f"with {schemes}",
        )
    if entry is not None:
        caller = Caller()
    if caller.over == "http" and not isinstance(source, ServesCallers):
        raise NotAllowed(
            f"'{source.scheme}:' is for the command line of the server's machine only.",
            hint=f"Run it there: `aiadmin pull {source.scheme}:...`.",
            param="model",
        )
    origin = source.origin(rest) if isinstance(source, TellsOrigin) else ""
    return Order(source=source, reference=rest, origin=origin, entry=entry, caller=caller)


def _already_here(
    order: Order, name: str | None, store: ModelStore, progress: Callable[[Progress], None], *, replace: bool
) -> StoredModel | None:
    """The model, where a pull would only fetch the same again: its files are what they should be (with `replace`, every
    byte of them). Raises `ModelExists` where it must not be replaced."""
    existing = store.find(name) if name else None
    if existing is None:
        return None
    if not replace and order.origin:
        refuse_replacing(existing, order.origin)
    if order.entry is None or existing.origin not in (order.origin, order.key):
        return None  # only the catalogue says beforehand what would come
    same = order.entry.digest in (file.digest for file in existing.files)
    return existing if same and store.intact(existing, thorough=replace, progress=progress) else None


def _fetch(
    order: Order,
    name: str | None,
    store: ModelStore,
    plugins: Plugins,
    progress: Callable[[Progress], None],
    *,
    replace: bool,
) -> StoredModel:
    """Fetch, look at what came, store it. Holding the pull's lock."""
    workdir = store.workdir(order.key)
    entry = order.entry
    with disk_errors("fetching the model", workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        workdir.touch()  # going on with an old pull makes it a new one: nobody may take it for abandoned meanwhile
        sweep(workdir.parent, older_than_s=ABANDONED_AFTER_S)
        if entry is not None:
            need_room(workdir, entry.size + entry.download_size - _size(workdir))
        fetched = _in_own_format(order, plugins) or _fetch_of(order)(
            order.reference,
            workdir=workdir,
            progress=_with_total(progress, entry.download_size if entry else 0),
            expected_digest=entry.digest if entry else "",
        )
        _need_room_for_copies(fetched, workdir)
        fetched = replace_fields(
            fetched,
            origin=fetched.origin or order.key,
            license=fetched.license or (entry.license if entry else None),
            parameters=(entry.parameters if entry else {}) | dict(fetched.parameters),
        )
        try:
            model = store.add(
                name or fetched.suggested_name,
                fetched,
                replace=replace,
                progress=progress,
                info=inspect(fetched, plugins.backends()),
                expected_digest=entry.digest if entry else "",
            )
        except PullFailed:
            shutil.rmtree(workdir, ignore_errors=True)  # what came is not what was asked for: no use in keeping it
            raise
    shutil.rmtree(workdir, ignore_errors=True)
    progress(Progress(status="success"))
    return model


def _in_own_format(order: Order, plugins: Plugins) -> FetchedModel | None:
    """What lies on this machine in a format that only a backend knows."""
    if not isinstance(order.source, LocalSource):
        return None
    path = local_path(order.reference)
    found = own_format(path, plugins.backends()) if path.exists() else ""
    return order.source.fetch_as(order.reference, found) if found else None


def _fetch_of(order: Order) -> Callable[..., FetchedModel]:
    """The source's way to serve whoever asks."""
    if order.caller.over == "http":
        assert isinstance(order.source, ServesCallers)
        return partial(order.source.fetch_for, order.caller)
    return order.source.fetch


def _need_room_for_copies(fetched: FetchedModel, workdir: Path) -> None:
    """Raise `StoreError` where the user's files are too large to be copied into the store."""
    copied = [file.path for file in fetched.files if not file.keep_in_place and workdir not in file.path.parents]
    try:
        need_room(workdir, sum(path.stat().st_size for path in copied if path.is_file()))
    except StoreError as error:
        raise StoreError(error.message, hint="Free some space, or leave the file where it is: `--in-place`.") from None


def _with_total(progress: Callable[[Progress], None], total: int) -> Callable[[Progress], None]:
    """Say how much there is to download, where the source does not know and the catalogue does."""

    def report(step: Progress) -> None:
        if total and step.completed and not step.total:
            step = replace_fields(step, completed=min(step.completed, total), total=total)
        progress(step)

    return report


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
