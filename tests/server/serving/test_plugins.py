"""The plug-in points of the HTTP server: observers, routes, middleware, identities."""

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from litestar import get
from litestar.di import NamedDependency

from aiadmin_core.errors import NotAuthenticated, PluginError, RunnerDied
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.specs.events import Finished, TextDelta


class Observer:
    """A plugin whose `aiadmin_observe` is the given function."""

    def __init__(self, observe):
        self.observe = observe
        self.exchanges = []

    @hookimpl
    def aiadmin_observe(self, exchange, events):
        self.exchanges.append(exchange)
        return self.observe(events)


async def shouting(events):
    async with contextlib.aclosing(events):
        async for event in events:
            yield TextDelta(event.request_id, event.text.upper()) if isinstance(event, TextDelta) else event


async def bracketing(events):
    async with contextlib.aclosing(events):
        async for event in events:
            yield TextDelta(event.request_id, f"[{event.text}]") if isinstance(event, TextDelta) else event


async def broken_at_once(events):
    raise ValueError("oops")
    yield


async def broken_after_taking_one(events):
    async with contextlib.aclosing(events):
        async for _ in events:
            raise ValueError("oops")
    yield


async def broken_later(events):
    async for event in events:
        yield event
        raise ValueError("oops")


def not_even_a_generator(events):
    return ["nothing"]


def content(response) -> str:
    return response.json()["choices"][0]["message"]["content"]


async def test_observers_nest_the_last_one_outermost(serve):
    first, last = Observer(shouting), Observer(bracketing)
    async with serve(plugins=[("first", first), ("last", last)]) as server:
        assert content(await server.chat(model="gpt-4o")) == "[ONE][ TWO][ THREE]"
        (exchange,) = first.exchanges
        assert (exchange.model, exchange.resolved, exchange.backend) == ("gpt-4o", "echo:latest", "echo")
        assert exchange.endpoint == "/v1/chat/completions"
        assert exchange.request == server.engine.request


async def test_an_observer_may_leave_a_request_alone(serve):
    async with serve(plugins=[("none", Observer(lambda events: None))]) as server:
        assert content(await server.chat()) == "one two three"


@pytest.mark.parametrize("observe", [broken_at_once, broken_after_taking_one, not_even_a_generator])
def test_an_observer_that_breaks_before_it_gives_anything_is_named_and_skipped(serve, observe, caplog):
    """No event it had taken is lost."""

    async def main() -> None:
        async with serve(plugins=[("broken", Observer(observe)), ("fine", Observer(shouting))]) as server:
            assert content(await server.chat()) == "ONE TWO THREE"
            assert "[DONE]" in (await server.chat(stream=True)).text

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert "plugin 'broken'" in caplog.text


async def test_an_observer_that_breaks_later_ends_the_request(serve):
    """It may have hidden something: what follows is not sent."""

    async with serve(plugins=[("broken", Observer(broken_later))]) as server:
        response = await server.chat(stream=True)
        assert "The plugin 'broken' failed" in response.text
        assert "[DONE]" not in response.text
        await server.engine.closed.wait()


async def test_what_the_engine_raises_passes_through_observers(serve):
    async def dying(request):
        raise RunnerDied("Gone.")
        yield

    async with serve(script=dying, plugins=[("loud", Observer(shouting))]) as server:
        assert (await server.chat()).status_code == 502
        assert len(server.engine.requests) == 1


async def test_an_observer_that_never_ends_is_closed_with_the_client(serve):
    closed = asyncio.Event()

    async def watching(events):
        try:
            async for event in events:
                yield event
        finally:
            closed.set()

    async def endless(request):
        while True:
            yield TextDelta(request.id, "word ")
            await asyncio.sleep(0)

    async with serve(script=endless, plugins=[("watching", Observer(watching))]) as server, asyncio.timeout(10):
        asking = asyncio.create_task(server.chat())
        await server.engine.begun.wait()
        asking.cancel()
        await closed.wait()
        await server.engine.closed.wait()


def test_plugins_add_routes_and_a_bad_one_is_left_out(serve, caplog):
    class Routes:
        @hookimpl
        def aiadmin_http_routes(self):
            @get("/hello")
            async def hello(router: NamedDependency[Any], settings: NamedDependency[Any]) -> dict[str, Any]:
                return {"loaded": len(router.loaded()), "host": settings.host}

            @get("/health")
            async def mine() -> str:
                return "taken"

            return [hello, mine]

    async def main() -> None:
        async with serve(plugins=[("routes", Routes())]) as server:
            assert (await server.http.get("/hello")).json() == {"loaded": 0, "host": "127.0.0.1"}
            assert (await server.http.get("/health")).json()["status"] == "ok"

    asyncio.run(main())
    assert "cannot be added" in caplog.text


async def test_plugin_middleware_surrounds_everything_the_first_outermost(serve):
    order = []

    class Middleware:
        @hookimpl
        def aiadmin_http_middleware(self):
            return [self.named("outer"), self.named("inner")]

        def named(self, name):
            def factory(app):
                async def middleware(scope, receive, send):
                    order.append(name)
                    await app(scope, receive, send)

                return middleware

            return factory

    async with serve(plugins=[("middleware", Middleware())]) as server:
        assert (await server.http.get("/nothing")).status_code == 404
        assert order == ["outer", "inner"]


async def test_middleware_that_raises_is_a_500_in_the_envelope(serve):
    class Middleware:
        @hookimpl
        def aiadmin_http_middleware(self):
            def factory(app):
                async def middleware(scope, receive, send):
                    raise ZeroDivisionError

                return middleware

            return [factory]

    async with serve(plugins=[("middleware", Middleware())]) as server:
        response = await server.http.get("/v1/models")
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal_error"


async def test_a_plugin_says_who_is_calling(serve):
    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            if path == "/health":
                return None
            if headers.get("authorization") != "Bearer secret":
                raise NotAuthenticated("Incorrect API key provided.", hint="Ask for one.")
            return "alice"

    watcher = Observer(lambda events: None)
    async with serve(plugins=[("keys", Keys()), ("watcher", watcher)]) as server:
        assert (await server.http.get("/health")).status_code == 200
        refused = await server.chat()
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        server.http.headers["authorization"] = "Bearer secret"
        assert (await server.chat()).status_code == 200
        assert watcher.exchanges[0].identity == "alice"


@pytest.mark.parametrize("path", ["//v1/models", "/v1//models/", "/%2Fv1/models"])
async def test_who_may_enter_is_judged_by_the_path_that_is_served(serve, path):
    """A key asked for below `/v1/` is asked for however the path is spelled."""

    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            if path.startswith("/v1/"):
                raise NotAuthenticated("No key.")

    async with serve(plugins=[("keys", Keys())]) as server:
        response = await server.http.get(server.url + path)
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_api_key"


async def test_a_broken_authenticator_lets_nobody_in(serve):
    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            raise ZeroDivisionError

    async with serve(plugins=[("keys", Keys())]) as server:
        assert (await server.chat()).status_code == 500
        assert server.engine.requests == []


async def test_an_engine_closed_by_its_observer_still_finishes(serve):
    """An observer may stop early and say so itself."""

    async def cutting(events):
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, TextDelta):
                    yield TextDelta(event.request_id, "cut")
                    yield Finished(event.request_id, "content_filter")
                    return

    async with serve(plugins=[("cutting", Observer(cutting))]) as server, asyncio.timeout(10):
        body = (await server.chat()).json()
        assert body["choices"][0]["finish_reason"] == "content_filter"
        await server.engine.closed.wait()


@pytest.mark.parametrize("identity", ["", 5, {"name": "alice"}])
def test_an_authenticator_that_names_nobody_lets_nobody_in(serve, identity):
    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            return identity

    async def main() -> None:
        async with serve(plugins=[("keys", Keys())]) as server:
            response = await server.chat()
            assert response.status_code == 500
            assert response.json()["error"]["code"] == "plugin_error"
            assert "alice" not in response.text
            assert server.engine.requests == []

    asyncio.run(main())


def test_an_authenticator_that_exits_ends_the_request_and_not_the_server(serve):
    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            raise SystemExit(1)

    async def main() -> None:
        async with serve(plugins=[("keys", Keys())]) as server:
            assert (await server.chat()).status_code == 500
            assert (await server.chat()).status_code == 500
            assert server.engine.requests == []

    asyncio.run(main())


def fails(app):
    raise ZeroDivisionError


@pytest.mark.parametrize("given", [[fails], [lambda app: None], ["gzip"], None])
def test_middleware_that_cannot_be_used_stops_the_server(serve, given):
    """It may be what keeps people out."""

    class Door:
        @hookimpl
        def aiadmin_http_middleware(self):
            return given

    async def main() -> None:
        with pytest.raises(PluginError, match="The plugin 'door' may guard this server and cannot be used"):
            async with serve(plugins=[("door", Door())]):
                pass

    asyncio.run(main())


async def test_who_is_known_shares_no_prefixes_with_others(serve):
    class Names:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            return headers.get("x-name")

    async with serve(plugins=[("names", Names())]) as server:
        for name in ("alice", "bob", "alice"):
            server.http.headers["x-name"] = name
            assert (await server.chat(priority=9)).status_code == 200
        first, second, third = server.engine.requests

    assert first.cache_salt == third.cache_salt != second.cache_salt
    assert {first.priority, second.priority} == {0}


async def test_where_nobody_is_known_salt_and_priority_are_the_clients(serve):
    async with serve() as server:
        assert (await server.chat(priority=9, cache_salt="mine")).status_code == 200
        (request,) = server.engine.requests

    assert (request.cache_salt, request.priority) == ("mine", 9)


@pytest.mark.parametrize("observe", [broken_at_once, broken_after_taking_one])
async def test_no_request_goes_on_without_an_observer_whose_plugin_guards(serve, observe):
    """It may be there to take names out of answers."""

    class Redaction(Observer):
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            return "alice"

    async with serve(plugins=[("redaction", Redaction(observe))]) as server:
        response = await server.chat()

    assert response.status_code == 500
    assert response.json()["error"]["code"] == "plugin_error"
    assert "three" not in response.text
