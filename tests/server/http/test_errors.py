"""Whatever goes wrong leaves in the envelope of the API that was called, with a status of its own."""

import asyncio
import json
import logging

import openai
import pytest

from aiadmin_core.errors import ContextLengthExceeded, ModelCrashing, Overloaded, RunnerDied
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Failed, Finished, Started, TextDelta
from aiadmin_server.app import Limits

HELLO = [{"role": "user", "content": "hi"}]


def raising(error):
    """A script that fails before its first event."""

    async def script(request):
        raise error
        yield Started(request.id, 1)

    return script


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ContextLengthExceeded(n_prompt=9000, n_ctx=8192), 400, "context_length_exceeded"),
        (Overloaded("Full.", retry_after_s=7), 503, "overloaded"),
        (RunnerDied("The runner was killed by SIGKILL."), 502, "runner_died"),
    ],
)
async def test_what_fails_before_the_first_event_has_its_own_status(serve, error, status, code, stream):
    async with serve(script=raising(error)) as server:
        for response in (await server.chat(stream=stream), await server.complete(stream=stream)):
            assert response.status_code == status
            assert response.headers["content-type"] == "application/json"
            body = response.json()["error"]
            assert body["code"] == code
            assert error.message in body["message"]
            assert set(body) == {"message", "type", "param", "code"}
            assert response.headers.get("retry-after") == ("7" if status == 503 else None)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_event_that_comes_first_is_a_status_too(serve, stream):
    async def failing(request):
        yield Failed(request.id, "No room.", code="overloaded", status=503, hint="Wait.")

    async with serve(script=failing) as server:
        response = await server.chat(stream=stream)
        assert response.status_code == 503
        assert response.json()["error"]["message"] == "No room. Wait."


@pytest.mark.parametrize("path", ["chat", "complete"])
async def test_what_fails_later_is_the_stream_s_last_event(serve, path):
    async def failing(request):
        yield TextDelta(request.id, "so far")
        yield Failed(request.id, "The runner was killed by SIGSEGV.", code="runner_died", status=502)

    async with serve(script=failing) as server:
        response = await getattr(server, path)(stream=True)
        assert response.status_code == 200
        assert "so far" in response.text
        assert "[DONE]" not in response.text
        last = json.loads(response.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["code"] == "runner_died"
        assert (await getattr(server, path)(stream=False)).status_code == 502


async def test_openai_s_client_raises_for_an_error_in_the_stream(serve):
    async def failing(request):
        yield TextDelta(request.id, "so far")
        raise RunnerDied("Gone.")

    async with serve(script=failing) as server:
        stream = await server.openai.chat.completions.create(model="echo", messages=HELLO, stream=True)
        with pytest.raises(openai.APIError, match="Gone"):
            async for _ in stream:
                pass


def test_an_unforeseen_error_is_a_500_with_an_id_and_no_traceback(serve, caplog):
    async def main() -> None:
        async with serve(script=raising(ZeroDivisionError("secret"))) as server:
            response = await server.chat()
            assert response.status_code == 500
            assert response.headers["x-request-id"] in response.json()["error"]["message"]
            assert "secret" not in response.text
            assert response.headers["x-request-id"] in caplog.text
            assert "ZeroDivisionError: secret" in caplog.text

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())


async def test_an_engine_that_ends_early_is_an_error_not_half_an_answer(serve):
    async def ending(request):
        yield TextDelta(request.id, "half")

    async with serve(script=ending) as server:
        assert (await server.chat()).status_code == 500
        assert '"code":"plugin_error"' in (await server.chat(stream=True)).text


async def test_an_engine_that_cancels_itself_does_not_hang_its_client(serve):

    async def cancelling(request):
        yield TextDelta(request.id, "half")
        raise asyncio.CancelledError

    async with serve(script=cancelling, limits=Limits(ping_s=0.05)) as server, asyncio.timeout(10):
        assert '"code":"plugin_error"' in (await server.chat(stream=True)).text
        assert (await server.chat()).json()["error"]["code"] == "plugin_error"


async def test_silence_is_filled_with_comments(serve):

    async def thinking(request):
        yield Started(request.id, 1)
        await asyncio.sleep(0.2)
        yield Finished(request.id, "stop")

    async with serve(script=thinking, limits=Limits(ping_s=0.02)) as server:
        text = (await server.chat(stream=True)).text
        assert ": ping\n\n" in text
        assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no body"),
        (b"  ", "no body"),
        (b"{", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"model": "\\ud800"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"model": 1e999}', "not valid JSON"),
    ],
)
async def test_a_body_that_is_no_json_object_is_a_400(serve, body, message):
    async with serve() as server:
        for path in ("/v1/chat/completions", "/v1/completions"):
            response = await server.http.post(path, content=body)
            assert response.status_code == 400
            assert message in response.json()["error"]["message"]
        assert (await server.http.post("/api/stop", content=body)).status_code == 400


async def test_any_content_type_is_read_as_json(serve):
    async with serve() as server:
        body = json.dumps({"model": "echo", "messages": HELLO}).encode()
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
            headers = {"content-type": content_type}
            response = await server.http.post("/v1/chat/completions", content=body, headers=headers)
            assert response.status_code == 200


async def test_a_body_that_is_too_large_is_a_413(serve):
    async with serve(limits=Limits(max_body_bytes=1000)) as server:
        response = await server.http.post("/v1/chat/completions", content=b"x" * 2000)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "request_too_large"


async def test_an_unknown_model_is_openai_s_404(serve):
    async with serve() as server:
        with pytest.raises(openai.NotFoundError) as caught:
            await server.openai.chat.completions.create(model="nope", messages=HELLO)
        assert caught.value.code == "model_not_found"
        assert caught.value.type == "invalid_request_error"


async def test_unknown_fields_are_all_named_where_the_administrator_wants_them_refused(serve):
    async with serve(ignore_unknown_fields=False) as server:
        messages = [{"role": "user", "content": "hi", "colour": "red"}]
        error = (await server.chat(messages=messages, foo=1, bar={"a": 2}, baz=None)).json()["error"]
        assert error["code"] == "unsupported_parameter"
        assert error["param"] == "messages[0].colour"
        assert all(name in error["message"] for name in ("messages[0].colour", "foo", "bar"))
        assert "baz" not in error["message"]


async def test_what_the_engine_lacks_is_refused_by_name(serve):
    png = "data:image/png;base64,aGk="
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": png}}]

    async with serve(capabilities=Capabilities()) as server:
        for fields, param in [
            ({"messages": [{"role": "user", "content": parts}]}, "messages[0].content[1]"),
            ({"seed": 1}, "seed"),
            ({"n": 2}, "n"),
            ({"logprobs": True}, "logprobs"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ]:
            response = await server.chat(**fields)
            assert response.status_code == 400, fields
            assert response.json()["error"]["param"] == param
            assert response.json()["error"]["code"] == "unsupported_parameter"
        assert server.engine.requests == []


async def test_paths_and_methods_that_do_not_exist(serve):
    async with serve() as server:
        for method, path, status in [
            ("GET", "/v1/nothing", 404),
            ("GET", "/v1/chat/completions", 405),
            ("GET", "/nothing", 404),
            ("POST", "/api/ps", 405),
        ]:
            response = await server.http.request(method, path)
            assert response.status_code == status
            error = response.json()["error"]
            assert (error["type"] == "invalid_request_error") if path.startswith("/v1") else isinstance(error, str)
            assert response.headers["x-request-id"]


@pytest.mark.parametrize("depth", [100, 700, 850, 900, 940, 5000])
async def test_deep_nesting_is_no_500(serve, depth):
    """However deep it is, and wherever: JSON may be nested deeper than Python recurses."""
    deep = "[" * depth + "]" * depth
    places = [
        '"chat_template_kwargs": {"a": %s}',
        '"audio": {"a": %s}',
        '"new_field": %s',
        '"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"a": %s}}}',
        '"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": %s}}}]',
        '"seed": %s',
    ]
    forwarding = Capabilities(
        forwards_unknown=True, constraints=frozenset({"json_schema"}), tools=True, sampling=frozenset({"seed"})
    )

    async with serve(capabilities=forwarding) as server:
        for place in places:
            body = '{"model": "echo", "messages": [{"role": "user", "content": "hi"}], ' + place % deep + "}"
            response = await server.http.post("/v1/chat/completions", content=body)
            assert response.status_code in (200, 400), response.text


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(serve, caplog):
    async def main() -> None:
        async with serve() as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            assert (await server.chat()).status_code == 200
            assert len(server.engine.requests) == 1

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/realtime", "AiAdmin does not serve this endpoint."),
        ("/v1/audio/speech", "AiAdmin does not serve this endpoint."),
        ("/chat/completions", "set the base URL to http://127.0.0.1:"),
        ("/nowhere", "Check the address"),
    ],
)
async def test_a_404_says_what_is_wrong_with_the_address(serve, path, said):
    async with serve() as server:
        response = await server.http.post(path, json={})
        assert response.status_code == 404
        assert said in response.text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RunnerDied("Gone."), {"x-should-retry": "false"}),
        (ModelCrashing("Gone 3 times.", retry_after_s=4), {"retry-after": "4"}),
        (Overloaded("Busy."), {"retry-after": "1"}),
    ],
)
@pytest.mark.parametrize("in_stream", [False, True], ids=["raised", "as an event"])
async def test_clients_are_told_whether_to_try_again_by_themselves(serve, error, expected, in_stream):
    """What killed a runner once kills it again: OpenAI's clients obey the header before they look at the status."""

    async def failing(request):
        if not in_stream:
            raise error
        yield Failed(request.id, error.message, code=error.code, status=error.status)

    async with serve(script=failing) as server:
        answer = await server.chat()
    assert answer.status_code == error.status
    if not in_stream or "x-should-retry" in expected:
        assert {name: answer.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/messages", "Anthropic's"),
        ("/v1/chat/completion", "Did you mean /v1/chat/completions?"),
        ("/v1/conversations", "does not serve this endpoint"),
        ("/v1/evals", "does not serve this endpoint"),
        ("/v1/v1/chat/completions", "twice"),
        ("/chat/completions", "set the base URL to"),
        ("/v1/audio/speech", "does not serve this endpoint"),
        ("/api/pushed", "Did you mean /api/push?"),
        ("/api/nothing/of/the/kind", "OpenAI's API is under /v1"),
    ],
)
async def test_an_endpoint_that_is_not_there_does_not_read_as_a_missing_model(serve, path, says):
    """Clients pull, or name, the model when they are told that it was not found."""
    async with serve() as server:
        response = await server.http.post(path, json={"model": "smollm2"})
        error = response.json()["error"]
        assert response.status_code == 404
        message = error if isinstance(error, str) else error["message"]
        assert message.startswith(f"Invalid URL (POST {path}). ")
        assert says in message
        assert "model" not in message
        assert "not found" not in message
        if path.startswith("/v1"):
            assert (error["code"], error["param"]) == ("unknown_url", None)
