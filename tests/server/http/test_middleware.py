"""What surrounds the app, over ASGI alone: where a plugin's framework says less, and where no HTTP is spoken."""

import pytest

from aiadmin_core.errors import NotAuthenticated
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_server.apis import Apis
from aiadmin_server.http.middleware import authenticated, guarded, identified


class Counting:
    def __init__(self):
        self.statuses = []

    def answered(self, *, endpoint, model, status):
        self.statuses.append(status)

    def failed(self, *, endpoint, code):
        pass


class Keys:
    @hookimpl
    def aiadmin_authenticate(self, headers, path):
        if headers.get("authorization") != "Bearer right":
            raise NotAuthenticated("No key.")
        return "somebody"


def scope(kind="http", **headers):
    own = {"http": {"method": "GET"}, "websocket": {"subprotocols": []}}[kind]
    pairs = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **headers}.items()]
    return {"type": kind, "path": "/v1/x", "query_string": b"", "headers": pairs, **own}


def around(app, *, keys=False):
    """Everything that surrounds `app` in the server."""
    plugins = load_plugins(builtin=[("keys", Keys())] if keys else [], only=[])
    app = authenticated(app, plugins)
    app = guarded(app, loopback=True, origins=(), names=("llm.example.com",))
    counting = Counting()
    return identified(app, counting, Apis(())), counting


async def play(app, scope):
    """What is sent to a client that sends nothing but its request."""
    sent = []
    first = "http.request" if scope["type"] == "http" else "websocket.connect"

    async def receive():
        return {"type": first}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_messages_may_leave_out_what_asgi_lets_them():
    async def terse(scope, receive, send):
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    app, counting = around(terse)
    start, body = await play(app, scope())
    assert [name for name, _ in start["headers"]] == [b"x-request-id"]
    assert body == {"type": "http.response.body"}
    assert counting.statuses == [204]


async def accepting(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "http://evil.local", "host": "evil.local"},
        {"authorization": "Bearer wrong"},
    ],
)
async def test_a_websocket_passes_the_same_door(headers):
    app, _ = around(accepting, keys=True)
    (closed,) = await play(app, scope("websocket", **{"authorization": "Bearer right", **headers}))
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    assert await play(app, scope("websocket", authorization="Bearer right")) == [{"type": "websocket.accept"}]


async def test_a_host_that_is_not_ours_is_told_what_would_allow_it():
    async def fine(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app, _ = around(fine)
    start, body = await play(app, scope(host="other.example.com"))
    assert start["status"] == 403
    assert b"AIADMIN_ALLOWED_HOSTS" in body["body"]
    start, _ = await play(app, scope(host="llm.example.com", origin="https://llm.example.com"))
    assert start["status"] == 200
