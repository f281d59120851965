"""`pull`: from a reference to a model in the store. Used by the command line and `/api/pull`.

A reference is a name of the catalogue, `scheme:rest` for a source, a path, or a name that a registry may know.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace as replace_fields

from aiadmin_core.errors import AiAdminError, BadRequest, InvalidName, ModelNotFound, NotAllowed, PullFailed, StoreError
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import (
    Caller,
    CatalogueEntry,
    FetchedModel,
    OfferingSource,
    Progress,
    ServesCallers,
    Source,
    TellsOrigin,
)

from .catalogue import catalogue, find_entry
from .forecast import Forecast, forecast
from .offers import ABANDONED_AFTER_S, Offered
from .sources.beginnings import Estimate
from .sources.inspecting import inspect, own_format
from .sources.installed import installed_sources
from .sources.local import LocalSource, local_path
from .store.adding import refuse_replacing
from .store.disk import disk_errors, need_room, sweep
from .store.names import parse_name
from .store.store import ModelStore, StoredModel

MAX_NAMED = 20
"""Models of the catalogue named in an error."""


class Order(Struct, frozen=True, kw_only=True):
    """What is to be pulled, and from where."""

    source: Source | OfferingSource
    reference: str
    """Without its scheme."""
    origin: str
    """"" where the source tells only with the model."""
    entry: CatalogueEntry | None = None
    """The catalogue's word on it."""
    caller: Caller = Caller()

    @property
    def key(self) -> str:
        """Equal for pulls of the same reference: they share a folder, and wait for each other."""
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
    expected_digest: str = "",
    foresee: Callable[[Forecast], None] = lambda _: None,
    estimate: Estimate | None = None,
) -> StoredModel:
    """Fetch what `reference` names and store it, under `name` if that is given. Blocking.

    `expected_digest` is the model file's, where whoever asks knows it. `foresee` is told what it will take, as soon as
    that is known; of the memory by `estimate`, where its header can be had beforehand. What `caller` may have fetched
    is for the sources to say; the catalogue's references are the administrator's.

    May be interrupted at any point: no half model is ever seen, and the next pull of the same reference goes on from
    what is there. A second pull of it meanwhile waits for the first. Raises `ModelNotFound`, `InvalidName`,
    `PullFailed`, `ModelExists`, `NotAllowed`, `StoreError`.
    """
    order = plan(reference, catalogue(plugins), installed_sources(plugins), caller)
    entry = order.entry
    name = name or (entry.name if entry else None)
    if isinstance(order.source, OfferingSource):
        progress(Progress(status="pulling manifest"))
        offer = order.source.offer(order.caller, order.reference)
        wanted = expected_digest or (entry.digest if entry else "")
        return Offered(order.source.scheme, offer, entry, wanted).store(
            name or offer.suggested_name, store, plugins, progress, foresee, estimate, replace=replace
        )
    here = _already_here(order, name, store, progress, replace=replace)
    if here is None:

        def waiting() -> None:
            progress(Progress(status="waiting for another pull of the same model"))

        with store.pull_lock(order.key, waiting=waiting):
            here = _already_here(order, name, store, progress, replace=replace)
            if here is None:
                if entry is not None:
                    foresee(forecast(name or "", entry.download_size or entry.size, entry.size, store.root))
                return _fetch(order, name, store, plugins, progress, expected_digest, replace=replace)
    progress(Progress(status="already here and complete"))
    return here


def plan(
    reference: str,
    entries: Sequence[CatalogueEntry],
    sources: Sequence[Source | OfferingSource],
    caller: Caller = Caller(),
) -> Order:
    """Which source is to fetch what. Pure, but for sources that look whether a path exists: not for callers over HTTP,
    who would learn it.

    Raises `NotAllowed`, `ModelNotFound`, `InvalidName`, `BadRequest` for what no source takes, and whatever a source
    finds wrong with the reference.
    """
    entry = find_entry(entries, reference) or next((one for one in entries if one.reference == reference), None)
    text = entry.reference if entry else reference
    scheme, _, rest = text.partition(":")
    source: Source | OfferingSource | None = None
    if scheme.lower() in ("http", "https"):  # some sites are known to a source
        source = next((source for source in sources if source.claims(text)), None)
        rest = text if source else rest
    if source is None and rest:
        source = next((source for source in sources if source.scheme.lower() == scheme.lower()), None)
    if source is None:
        rest = text
        source = next((source for source in sources if _serves(source, caller) and source.claims(text)), None)
    if source is None:
        raise _unclaimed(reference, text, entries, sources, caller)
    if entry is not None:
        caller = Caller(insecure=caller.insecure)
    if not _serves(source, caller):
        raise NotAllowed(
            f"'{source.scheme}:' is for the command line of the server's machine only.",
            hint=f"Run it there: `aiadmin pull {source.scheme}:...`.",
            param="model",
        )
    origin = source.origin(rest) if isinstance(source, TellsOrigin | OfferingSource) else ""
    return Order(source=source, reference=rest, origin=origin, entry=entry, caller=caller)


def _serves(source: Source | OfferingSource, caller: Caller) -> bool:
    return caller.over == "command line" or isinstance(source, ServesCallers | OfferingSource)


def _unclaimed(
    reference: str,
    text: str,
    entries: Sequence[CatalogueEntry],
    sources: Sequence[Source | OfferingSource],
    caller: Caller,
) -> AiAdminError:
    """What is wrong with a reference that no source takes."""
    scheme, _, rest = text.partition(":")
    if "/" in rest and scheme.isalnum():  # `name:tag` has a colon too, and no slash after it
        known = ", ".join(sorted(source.scheme for source in sources))
        return BadRequest(f"No source is called '{scheme}'.", hint=f"There are: {known}.", param="model")
    if caller.over == "http":  # there are no paths: what is no name is nothing else either
        try:
            parse_name(text)
        except InvalidName as error:
            return error
    names = [entry.name for entry in entries]
    more = f" and {len(names) - MAX_NAMED} more (`aiadmin search`)" if len(names) > MAX_NAMED else ""
    schemes = ", ".join(f"{source.scheme}:" for source in sources)
    return ModelNotFound(
        reference,
        hint=f"The catalogue has: {', '.join(names[:MAX_NAMED])}{more}. Other models are named by where they are: a "
        f"path, or a text that begins with {schemes}",
    )


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
    expected_digest: str,
    *,
    replace: bool,
) -> StoredModel:
    """Fetch, look at what came, store it. Holding the pull's lock."""
    workdir = store.workdir(order.key)
    entry = order.entry
    expected = expected_digest or (entry.digest if entry else "")
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
            expected_digest=expected,
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
                expected_digest=expected,
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
    assert not isinstance(order.source, OfferingSource)
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
