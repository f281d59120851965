"""What the server and a runner say to each other.

The runner connects as soon as it starts. Its first frame, sent when the model is loaded, is `Hello` (or `LoadFailed`);
nothing is sent to it before. Fields that a peer does not know are ignored, fields that it misses have defaults, so
either side may be the newer one as long as `PROTOCOL_VERSION` agrees.
"""

from typing import Any

from msgspec import Struct

from ..specs.capabilities import Capabilities
from ..specs.events import Event, Failed
from ..specs.model import EngineOptions, EngineStats, ModelFacts, ModelSpec
from ..specs.request import GenerateRequest

PROTOCOL_VERSION = 2


class Launch(Struct, frozen=True, kw_only=True):
    """How a runner is started: one line of JSON on its standard input, which stays open as long as its server lives."""

    address: str
    """Where to connect, as `transport` writes it."""
    secret: str
    plugin: str
    """Entry point of the plugin that offers the backend."""
    backend: str
    model: ModelSpec
    options: EngineOptions
    dialects: tuple[str, ...] = ()
    """Entry points of the plugins that have dialects to offer, first asked first. No other plugin is imported."""
    memory_bytes: int = 0
    """Most memory of its own that the process may take; 0 sets no limit."""


# Runner to server.


class Hello(Struct, frozen=True, kw_only=True, array_like=True, tag="hello"):
    """The model is loaded and has decoded."""

    version: int = PROTOCOL_VERSION
    software: str = ""
    """Version of aiadmin-core in the runner."""
    backend: str = ""
    pid: int = 0
    capabilities: Capabilities = Capabilities()
    facts: ModelFacts = ModelFacts()


class LoadFailed(Struct, frozen=True, kw_only=True, array_like=True, tag="load_failed"):
    """The model cannot be opened; the runner ends."""

    message: str
    hint: str = ""
    code: str = "model_load_failed"
    status: int = 503


class Events(Struct, frozen=True, tag="events", array_like=True):
    """Everything one step gave, of all sequences."""

    events: tuple[Event, ...]


class Closed(Struct, frozen=True, tag="closed", array_like=True):
    """The engine is done with a request and has freed its place; no event of it follows."""

    request_id: int


class Returned(Struct, frozen=True, kw_only=True, array_like=True, tag="returned"):
    """What an `Invoke` came to."""

    call_id: int
    result: Any = None
    failure: Failed | None = None


class Heartbeat(Struct, frozen=True, kw_only=True, array_like=True, tag="heartbeat"):
    """The event loop turns; sent every few seconds with the engine's counters."""

    stats: EngineStats = EngineStats()


Reply = Hello | LoadFailed | Events | Closed | Returned | Heartbeat


# Server to runner.


class Generate(Struct, frozen=True, tag="generate", array_like=True):
    """Start a request."""

    request: GenerateRequest


class Cancel(Struct, frozen=True, tag="cancel", array_like=True):
    """Close a request, or give up an `Invoke`."""

    request_id: int


class Invoke(Struct, frozen=True, kw_only=True, array_like=True, tag="invoke"):
    """Call a method of an optional protocol: tokenize, pieces, embed, score, load_adapter."""

    call_id: int
    method: str
    arguments: dict[str, Any] = {}


class UseThreads(Struct, frozen=True, tag="use_threads", array_like=True):
    """Compute with no more threads than that from the next step on. Only for engines of the protocol "threads"."""

    n_threads: int


class Shutdown(Struct, frozen=True, array_like=True, tag="shutdown"):
    """Close the engine and end."""


Command = Generate | Cancel | Invoke | UseThreads | Shutdown
