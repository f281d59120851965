"""What a plugin may implement.

A plugin is a module (or object) named by an entry point of the group `aiadmin`, with functions marked `@hookimpl`:

    [project.entry-points.aiadmin]
    echo = "aiadmin_echo.plugin"

Hooks are called per command, per start or per request, never per token; protocols do the work. They are plain
functions. One that raises, or gives what its protocol does not allow, is named and costs that call alone. A plugin may
state `aiadmin_api_version = 1`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pluggy

from .backend import Backend
from .dialects.dialect import Dialect
from .observe import Exchange
from .sources import CatalogueEntry, OfferingSource, Source
from .specs.events import Event

PROJECT = "aiadmin"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def aiadmin_backends() -> Sequence[Backend]:
    """Offer the backends this package provides.

    Called once in every process, by every command that needs a backend: import no native library here.
    `Backend.open_engine` runs later, in the runner's process, and may import anything.
    """
    raise AssertionError


@hookspec
def aiadmin_sources() -> Sequence[Source | OfferingSource]:
    """Offer places that `aiadmin pull` can fetch models from. Called once a command."""
    raise AssertionError


@hookspec
def aiadmin_catalogue() -> Sequence[CatalogueEntry]:
    """Name models that can be pulled by a short name. Called once a command; a name that two plugins offer goes to
    the one loaded first."""
    raise AssertionError


@hookspec
def aiadmin_dialects() -> Sequence[Dialect]:
    """Offer ways models write what they think, the tools they call, or both. Called once in the runner, when its model
    is open: the first dialect that recognises the chat template is used for each. AiAdmin's own come last."""
    raise AssertionError


@hookspec
def aiadmin_apis() -> Mapping[str, str]:
    """Speak another API: its name -> "package.module:attribute" of an `aiadmin_server.apis.Api`.

    Called by the server and by commands that list plugins; only a server that starts imports what is named, so that
    the plugin's module needs no web framework. An API that cannot be imported, or claims another's name or paths, is
    named in the log and left out.
    """
    raise AssertionError


@hookspec
def aiadmin_http_routes() -> Sequence[Any]:
    """Add Litestar route handlers (or routers, or controllers) to the server: pages that belong to no API. Called once
    at start.

    Handlers may ask for the server's own dependencies by name: `router` (who serves which model), `settings`.
    """
    raise AssertionError


@hookspec
def aiadmin_http_middleware() -> Sequence[Any]:
    """Add ASGI middleware, outermost first. Called once at start. Each is a callable that takes the next ASGI app."""
    raise AssertionError


@hookspec(firstresult=True)
def aiadmin_authenticate(headers: Mapping[str, str], path: str) -> str | None:
    """Say who is calling, by a name for logs and limits, or None to let the next plugin decide.

    Called once a request, whatever its path; header names are lower-case. Raise `errors.NotAuthenticated` to refuse.
    When every plugin answers None the request is anonymous and goes on. What is neither None nor a name refuses it. A
    server whose plugin for this, or for the middleware, cannot be used does not start.
    """
    raise AssertionError


@hookspec
def aiadmin_observe(exchange: Exchange, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None] | None:
    """Watch or change one request's event stream: audit, redaction, metrics.

    Called once a request, after routing. Return an async generator that yields from `events` (and closes it in a
    `finally`), or None to leave the stream as it is. Wrappers nest: the plugin called last is the outermost.
    """
    raise AssertionError


@hookspec
def aiadmin_cli_commands() -> Mapping[str, str]:
    """Add verbs to the command line: verb -> "package.module:attribute" of a `click.Command`, imported when used."""
    raise AssertionError


@hookspec
def aiadmin_doctor_checks() -> Sequence[Any]:
    """Add checks to `aiadmin doctor` (`observe.DoctorCheck`). Called by that command only."""
    raise AssertionError
