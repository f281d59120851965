"""The server: what is put together for one process, and how uvicorn runs it.

`create_app` makes the Litestar application, whose lifespan owns the router; `cli._serving` runs it until a signal.
"""

import asyncio
import contextlib
import errno
import logging
import math
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ASGIApp
from msgspec import Struct

from aiadmin_core.errors import AiAdminError
from aiadmin_core.plugins import HARM, Plugins, error_text

from .apis import Apis
from .apis.loading import load_apis
from .http.body import Intake
from .http.errors import answer_with_error, body_of
from .http.middleware import authenticated, guarded, identified, routed
from .http.openapi import openapi_config
from .http.origins import DEFAULT_ORIGINS, is_loopback
from .http.protocol import Bounds, HttpConnection
from .plugins import load_server_plugins
from .routing.resolver import Resolver
from .routing.router import Router
from .serving.exchange import Exchanges
from .serving.left_out import LeftOut
from .serving.metrics import Metrics
from .serving.observers import Observers, plugin_observers
from .serving.ports import RouterPort
from .serving.work import Patience, Service
from .settings import Settings
from .store.aliases import Aliases
from .store.store import ModelStore

LOG = logging.getLogger("aiadmin.server")


class Limits(Struct, frozen=True, kw_only=True):
    """What a server waits for and takes, at most."""

    max_body_bytes: int = 100 * 1024 * 1024
    """Room for images and long conversations; more is 413."""
    total_body_bytes: int = 400 * 1024 * 1024
    """Of all bodies that are being read; who comes then gets a 503."""
    headers_s: float = 1.5
    """After which a stream begins that has nothing to say yet: long enough for what is refused to be refused with a
    status of its own."""
    ping_s: float = 15.0
    """Silence after which a stream says that it is still there, before proxies give up."""
    shutdown_s: float = 10.0
    """How long running requests may take to end after a signal."""
    last_words_s: float = 5.0
    """How long those that did not may take to tell their clients so."""
    bounds: Bounds = Bounds()
    """Of one connection, and how many there may be."""


LIMITS = Limits()
LONGEST_REST_S = 7 * 86400
"""What "for ever" is of an idle connection: event loops take no more than some weeks."""


class PortInUse(AiAdminError):
    """Another program listens on the address."""

    code = "port_in_use"


def create_app(
    settings: Settings, *, plugins: Plugins | None = None, router: RouterPort | None = None, limits: Limits = LIMITS
) -> Litestar:
    """The application. `router` replaces the one made of `settings`; the app closes either.

    Raises `PluginError` where a plugin that may guard the door cannot be used.
    """
    plugins = plugins or load_server_plugins()
    plugins.require_guards()
    store = ModelStore(settings.models)
    resolver = Resolver(store, Aliases(store.aliases_path), plugins, settings)
    router = router or Router(
        resolve=resolver.resolve,
        find=resolver.find,
        adapters=resolver.adapters,
        plugins=plugins,
        settings=settings,
    )
    metrics = Metrics(router)
    exchanges = Exchanges(
        router=router,
        observers=Observers(plugin_observers(plugins)),
        measure=metrics.measure,
        ignore_unknown_fields=settings.ignore_unknown_fields,
        left_out=LeftOut(metrics.left_out),
        knows_callers=bool(plugins.hook.aiadmin_authenticate.get_hookimpls()),
    )
    patience = Patience(headers_s=limits.headers_s, ping_s=limits.ping_s)
    service = Service(exchanges, on_disconnect=metrics.disconnected, patience=patience)
    offered = [one for one in load_apis(plugins) if one.api]
    apis = Apis(one.api for one in offered if one.api)

    intake = Intake(body_bytes=limits.max_body_bytes, total_bytes=limits.total_body_bytes)

    @contextlib.asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await service.close()
            await router.close()

    shared = {"metrics": metrics, "resolver": resolver, "router": router, "service": service, "settings": settings}
    app = Litestar(
        cors_config=CORSConfig(
            allow_origins=list(settings.origins),
            allow_origin_regex=DEFAULT_ORIGINS,
            expose_headers=["x-request-id", "x-ignored-params", "x-served-model", "x-fallback-reason"],
        ),
        dependencies={name: _given(value) for name, value in shared.items()},
        exception_handlers={Exception: answer_with_error},
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=openapi_config(apis.envelope_at, strict=not settings.ignore_unknown_fields),
        state=State({"apis": apis, "intake": intake}),
        request_max_body_size=None,  # `http.body` counts, before and after decoding
    )
    routes = [(one.plugin, "aiadmin_apis", handler) for one in offered if one.api for handler in one.api.routes]
    routes += [(name, "aiadmin_http_routes", handler) for name, handler in plugins.contributions("aiadmin_http_routes")]
    _add_routes(app, plugins, routes)
    app.asgi_handler = _surround(app.asgi_handler, settings, plugins, metrics, apis)
    return app


def _given(value: object) -> Provide:
    return Provide(lambda: value, sync_to_thread=False, use_cache=True)


def _add_routes(app: Litestar, plugins: Plugins, routes: Iterable[tuple[str, str, Any]]) -> None:
    """Add what a plugin gave by a hook. A route that cannot be added is left out and named."""
    for plugin, hook, handler in routes:
        try:
            app.register(handler)
        except Exception as error:
            plugins.note(plugin, hook, f"gave {handler!r}, which cannot be added: {error_text(error)}")


def _surround(app: ASGIApp, settings: Settings, plugins: Plugins, metrics: Metrics, apis: Apis) -> ASGIApp:
    """Our middleware and the plugins', around everything, so that it also sees what has no route. Theirs may guard the
    door: the server does not start without any of it."""
    app = routed(authenticated(app, plugins), secrets.token_hex(8))
    loopback = is_loopback(settings.host)
    app = guarded(app, loopback=loopback, origins=settings.origins, names=settings.allowed_hosts)
    for plugin, factory in reversed(plugins.contributions("aiadmin_http_middleware")):
        try:
            inner, app = app, factory(app)
            if not callable(app) or app is None:
                raise TypeError(f"it made {app!r} of {inner!r}")
        except HARM as error:
            plugins.note(plugin, "aiadmin_http_middleware", f"gave {factory!r}, which raised {error_text(error)}")
    plugins.require("aiadmin_http_middleware")
    return identified(app, metrics, apis)


def uvicorn_config(app: Litestar, settings: Settings, limits: Limits = LIMITS) -> uvicorn.Config:
    """How uvicorn runs the app: our own connections, no access log, a bounded shutdown, uvloop where there is one."""
    return uvicorn.Config(
        app,
        http=partial(HttpConnection, bounds=limits.bounds, envelope=partial(body_of, apis=app.state.apis)),  # type: ignore[arg-type] # is called like a class
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(limits.shutdown_s + limits.last_words_s),
        timeout_keep_alive=math.ceil(min(settings.idle_connection_s, LONGEST_REST_S)),
    )


TICK_S = 1.0
"""Between two looks at the clock."""


class Server(uvicorn.Server):
    """uvicorn, telling where it listens before it takes its first request, and ending requests with an answer."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[str, int], None] | None,
        *,
        shutdown_s: float = LIMITS.shutdown_s,
    ) -> None:
        self._should_exit = False
        self._told_to_exit = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(config)
        self._on_ready = on_ready
        self._shutdown_s = shutdown_s

    @property
    def should_exit(self) -> bool:
        """Whether it has been told to end, by a signal handler or another thread."""
        return self._should_exit

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._should_exit = value
        if value and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._told_to_exit.set)

    async def main_loop(self) -> None:
        """As uvicorn's, which wakes ten times a second to look whether it should end: with a model's weights in the
        caches that costs more than a token. Here it wakes for the clock of the `date` header, and when it is told."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._told_to_exit.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started and self._on_ready and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._on_ready(host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give running requests `shutdown_s`. Those left are cancelled, which their clients are told."""
        ending = asyncio.create_task(self._cancel_requests())
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()

    async def _cancel_requests(self) -> None:
        await asyncio.sleep(self._shutdown_s)
        for request in list(self.server_state.tasks):
            request.cancel()


def bind(settings: Settings) -> socket.socket:
    """The listening socket; port 0 takes a free one. Raises `PortInUse`, or `AiAdminError` for another reason."""
    address = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, target = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would share the port with another program
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"Port {settings.port} of {settings.host} is in use.",
                hint="Is AiAdmin running already? Otherwise set AIADMIN_HOST to another port.",
            ) from None
        raise AiAdminError(f"Cannot listen on {address}: {error}.", hint="Correct `--host` or AIADMIN_HOST.") from None
    return listener
