"""The request log: one line for each request, whatever became of it, and nothing of what was said."""

import asyncio
import logging

import pytest

from aiadmin_core.errors import NotAuthenticated
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.specs.events import Finished, Started, TextDelta, Usage
from aiadmin_server.http.record import Record

SECRET = "the words of a prompt"
HELLO = [{"role": "user", "content": SECRET}]


class Lines(logging.Handler):
    """What the log gets, as it gets it."""

    def __init__(self):
        super().__init__()
        self.told = asyncio.Queue()

    def emit(self, record):
        assert SECRET not in record.getMessage() + str(record.fields)
        self.told.put_nowait(record.fields)

    async def __call__(self, n=1):
        """Wait until so many requests have ended: their clients may know of it first."""
        async with asyncio.timeout(30):
            return [await self.told.get() for _ in range(n)]


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "aiadmin.requests")
    found = Lines()
    logging.getLogger("aiadmin.requests").addHandler(found)
    yield found
    logging.getLogger("aiadmin.requests").removeHandler(found)


async def counted(request):
    yield Started(request.id, 10, 7)
    for choice in range(request.n):
        yield TextDelta(request.id, SECRET, choice)
        usage = Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=7, queue_s=0.5)
        yield Finished(request.id, "stop", usage, choice)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_was_answered(serve, lines, stream):
    async with serve(script=counted) as server:
        response = await server.chat(model="gpt-4o", messages=HELLO, n=2, stream=stream)
        (line,) = await lines()
    assert line["id"] == response.headers["x-request-id"]
    assert (line["who"], line["model"], line["endpoint"]) == (None, "echo:latest", "POST /v1/chat/completions")
    assert (line["status"], line["error"]) == (200, None)
    assert (line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"]) == (10, 7, 8)
    assert 0.5 <= line["queue_s"] < 0.5 + line["total_s"]  # the engine's own, beside the wait for the model
    assert 0 < line["first_token_s"] <= line["total_s"]


async def test_the_prompts_of_one_request_are_added_up(serve, lines):
    async with serve(script=counted) as server:
        await server.complete(prompt=["a", "b", "c"])
        (line,) = await lines()
    assert (line["prompt_tokens"], line["cached_tokens"], line["completion_tokens"]) == (30, 21, 12)


async def test_requests_that_had_no_model_or_failed(serve, lines):
    async def failing(request):
        yield Started(request.id, 3)
        raise ZeroDivisionError(SECRET)

    async with serve(script=failing) as server:
        await server.chat(model="missing", messages=HELLO)
        await server.chat(messages=HELLO)
        await server.chat(messages=HELLO, stream=True)
        await server.chat(messages=HELLO, top_p=7)
        await server.http.get("/a/path%20nobody%0Aknows=1")
        await server.http.get("/health")
        found = await lines(6)
    assert [(line["model"], line["status"], line["error"]) for line in found] == [
        ("missing", 404, "model_not_found"),
        ("echo:latest", 500, "internal_error"),
        ("echo:latest", 200, "internal_error"),
        (None, 400, "invalid_value"),
        (None, 404, "unknown_url"),
        (None, 200, None),
    ]
    assert [line["queue_s"] is None for line in found] == [True, False, False, True, True, True]
    assert found[1]["prompt_tokens"] == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_whose_client_left(serve, lines, stream):
    async def endless(request):
        yield Started(request.id, 3)
        while True:
            yield TextDelta(request.id, "word ")
            await asyncio.sleep(0)

    async with serve(script=endless) as server:
        asking = asyncio.create_task(server.chat(messages=HELLO, stream=stream))
        await server.engine.begun.wait()
        asking.cancel()
        (line,) = await lines()
    assert (line["status"], line["model"], line["prompt_tokens"]) == (499, "echo:latest", 3)


async def test_who_asks_is_named_and_who_may_not_is_there_too(serve, lines):
    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            if headers.get("authorization") != "Bearer right":
                raise NotAuthenticated("No key.")
            return "alice"

    async with serve(plugins=[("keys", Keys())]) as server:
        await server.http.get("/v1/models", headers={"authorization": "Bearer right"})
        await server.http.get("/v1/models", headers={"authorization": "Bearer wrong"})
        known, unknown = await lines(2)
    assert (known["who"], known["status"]) == ("alice", 200)
    assert (unknown["who"], unknown["status"]) == (None, 401)


def test_a_line_stays_one_line(caplog):
    """Clients choose paths and names of models."""
    caplog.set_level(logging.INFO, "aiadmin.requests")
    Record(method="GET", endpoint="/\nstatus=200 \u2028", asked='a"b' * 1000, who="a b").tell()
    (record,) = caplog.records
    text = record.getMessage()
    assert text.isprintable()
    assert len(text) < 1000
    assert "who='a b'" in text
    assert "\nstatus" not in text
