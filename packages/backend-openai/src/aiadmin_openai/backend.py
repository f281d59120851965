"""The backend that forwards: it opens models described by an `upstream.json`, and loads nothing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from aiadmin_core.backend import Health, ModelInfo
from aiadmin_core.errors import AiAdminError, BadRequest, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from .remote import RemoteModel, headers, key_of, read

if TYPE_CHECKING:
    from .engine import OpenAIEngine
    from .listing import Listing

PROBE_TIMEOUT_S = 3.0
"""What opening a model may lose to upstreams that are not there."""


class OpenAIBackend:
    """Any OpenAI-compatible server as a model."""

    name = "openai"
    in_process = True
    """Nothing native to crash, nothing to load: no process of its own is needed."""

    def suitability(self, model: ModelSpec) -> int | None:
        """50 for a model with an `upstream.json`, well-formed or not: this backend says best what is wrong with it."""
        path = _description(model)
        if model.format != "remote" or path is None:
            return None
        try:
            return 50 if read(path) else None
        except BadRequest:
            return 50

    def inspect(self, path: Path) -> ModelInfo | None:
        remote = read(path)
        if remote is None:
            return None
        described: dict[str, str | Sequence[str]] = {"upstreams": list(remote.upstreams), "model": remote.model}
        if remote.key_variable:
            described["key_variable"] = remote.key_variable
        return ModelInfo(format="remote", metadata=described)

    def build_id(self) -> str:
        return ""

    def health(self) -> Health:
        return Health(ok=True, summary=f"httpx {metadata.version('httpx')}; forwards to OpenAI-compatible servers")

    def open_engine(
        self,
        model: ModelSpec,
        options: EngineOptions,  # noqa: ARG002 - they are about memory and devices, of which nothing is used here
    ) -> "OpenAIEngine":
        """The upstreams need not be up: the engine says so in its facts, and goes on asking.

        Raises `ModelLoadFailed` where the file is broken or the API key is missing.
        """
        from . import listing  # httpx is slow to import, and this module is imported by every command
        from .engine import OpenAIEngine

        path = _description(model)
        try:
            remote = read(path) if path else None
            if remote is None:
                raise BadRequest(f"'{model.name}' has no upstream.json.", hint="Pull the model again.")
            key = key_of(remote)
        except AiAdminError as error:
            raise ModelLoadFailed(error.message, hint=error.hint) from None
        listings = _ask_all(remote, headers(key))
        facts = listing.facts(remote.model, listings)
        if model.template:
            facts = replace(facts, notes=("its chat template is not used: the upstream has its own",))
        engine = OpenAIEngine(remote, model, key=key, facts=facts)
        for upstream, found in zip(engine.pool.upstreams, listings, strict=True):
            if found.error:
                engine.pool.mark_down(upstream, found.error)
        return engine


def _description(model: ModelSpec) -> Path | None:
    """Its `upstream.json`. There are no weights, so whoever has the file alone takes it for the model."""
    file = model.file("config") or model.file("model")
    return Path(file.path) if file else None


def _ask_all(remote: RemoteModel, sent: dict[str, str]) -> "list[Listing]":
    """All at once, so that those that are not there cost one timeout together."""
    from . import listing

    timeout_s = min(remote.connect_timeout_s, PROBE_TIMEOUT_S)
    with ThreadPoolExecutor(len(remote.upstreams)) as pool:
        return list(
            pool.map(
                lambda url: listing.ask(url, headers=sent, timeout_s=timeout_s, public_only=remote.public_only),
                remote.upstreams,
            )
        )
