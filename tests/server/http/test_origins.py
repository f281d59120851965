"""Which web pages and which host names may reach the server."""

import json
import socket

import pytest

from aiadmin_server.http.origins import host_allowed, is_loopback, origin_allowed


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "localhost:11434",
        "LOCALHOST:1",
        "127.0.0.1:11434",
        "[::1]:11434",
        "::1",
        "192.168.1.4:11434",
        "10.0.0.1",
        "0.0.0.0:11434",
        "my.localhost:80",
        socket.gethostname().partition(".")[0].upper() + ".local:11434",
        "host.docker.internal:11434",
        socket.gethostname(),
        "",
    ],
)
def test_names_of_this_machine_are_taken(header):
    assert host_allowed(header)


@pytest.mark.parametrize(
    "header", ["evil.example", "evil.example:11434", "localhost.evil.example", "8.8.8.8", "[::ffff", "printer.local"]
)
def test_other_names_are_not(header):
    assert not host_allowed(header)


@pytest.mark.parametrize("header", ["llm.example.com", "LLM.example.com:443", "llm.example.com.", "a.tunnel.example"])
def test_names_that_the_administrator_allows_are_taken(header):
    assert host_allowed(header, names=("llm.example.com", "*.tunnel.example"))
    assert not host_allowed(header, names=("example.com", "tunnel.example"))


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://localhost:3000",
        "http://127.0.0.1:8080",
        "http://[::1]:5",
        "app://obsidian.md",
        "tauri://localhost",
        "http://tauri.localhost",
        "https://tauri.localhost",
        "http://app.localhost:1420",
        "capacitor://localhost",
        "ionic://localhost",
        "chrome-extension://abcdef",
        "http://server.lan:11434",
        "https://app.example.org",
    ],
)
def test_pages_of_this_machine_and_named_ones_are_taken(origin):
    extra, names = ("https://*.example.org",), ("server.lan",)
    assert origin_allowed(origin, host="server.lan:11434", extra=extra, names=names)


@pytest.mark.parametrize("host", ["192.168.1.4:11434", "[fd00::1]:11434", "127.0.0.1", socket.gethostname() + ":80"])
def test_pages_this_server_sent_itself_are_taken_where_nobody_else_can_have_its_name(host):
    assert origin_allowed(f"http://{host}", host=host, extra=())


@pytest.mark.parametrize("host", ["evil.example:11434", "evil.local", "evil.internal:80", "localhost.evil.example", ""])
def test_a_name_that_leads_here_today_does_not_make_a_page_ours(host):
    """DNS rebinding: the page came from the same name when that led elsewhere."""
    assert not origin_allowed(f"http://{host}", host=host, extra=())


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost.evil.example",
        "http://localhost:80.evil.example",
        "http://tauri.localhost.example.com",
        "http://evil.localhost.example",
        "http://.localhost",
        "http://evil.example/.localhost",
        "http://evil.example#.localhost",
        "http://evil.local",
        "capacitor:localhost",
        "null",
        "http://[::1",
        "https://example.org",
    ],
)
def test_pages_of_others_are_not(origin):
    assert not origin_allowed(origin, host="server.lan:11434", extra=("https://*.example.org",))


def test_a_star_takes_everything():
    assert origin_allowed("null", host="", extra=("*",))


def test_which_addresses_are_of_this_machine_only():
    assert is_loopback("127.0.0.1")
    assert is_loopback("localhost")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("192.168.1.4")


async def test_a_foreign_host_or_page_gets_403_before_anything_is_done(serve):
    async with serve() as server:
        body = json.dumps({"model": "echo"}).encode()
        for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"}):
            response = await server.http.post("/api/stop", content=body, headers=headers)
            assert response.status_code == 403
        assert server.router.stopped == []
        assert (await server.http.get("/v1/models", headers={"host": "evil.example"})).json()["error"]["message"]


async def test_an_allowed_page_gets_cors_headers(serve):
    async with serve(origins=("https://app.example",)) as server:
        for origin in ("http://localhost:3000", "https://app.example"):
            asked = {"origin": origin, "access-control-request-method": "POST"}
            asked["access-control-request-headers"] = "authorization,content-type,x-stainless-os"
            preflight = await server.http.options("/v1/chat/completions", headers=asked)
            assert preflight.status_code == 204
            assert preflight.headers["access-control-allow-origin"] == origin
            response = await server.http.post("/v1/chat/completions", content=b"", headers={"origin": origin})
            assert response.headers["access-control-allow-origin"] == origin
            assert "x-request-id" in response.headers["access-control-expose-headers"]


async def test_a_server_for_the_network_takes_any_host(serve):
    async with serve(host="0.0.0.0") as server:
        assert (await server.http.get("/", headers={"host": "server.example"})).status_code == 200
