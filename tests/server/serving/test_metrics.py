"""What `/metrics` counts."""

from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aiadmin_core.specs.events import Finished, Started, TextDelta, Usage
from aiadmin_core.specs.model import EngineStats
from aiadmin_server.serving.metrics import Metrics


def read(text: str) -> dict[tuple, float]:
    """Value by name and labels, in any order."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def page(server) -> dict[tuple, float]:
    response = await server.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert response.headers["content-type"].count("charset") == 1
    return read(response.text)


MODEL = ("model", "echo:latest")


async def test_requests_are_counted_by_endpoint_model_and_status(serve):
    async with serve() as server:
        await server.chat()
        await server.chat(model="gpt-4o", stream=True)
        await server.chat(model="missing")
        await server.http.get("/a/path/that/somebody/made/up")
        await server.http.get("/v1/models/any")
        found = await page(server)
        chat = ("endpoint", "/v1/chat/completions")
        assert found["aiadmin_requests_total", chat, MODEL, ("status", "200")] == 2
        assert found["aiadmin_requests_total", chat, ("model", ""), ("status", "404")] == 1
        assert found["aiadmin_requests_total", ("endpoint", "other"), ("model", ""), ("status", "404")] == 1
        one = ("endpoint", "/v1/models/{name}")
        assert found["aiadmin_requests_total", one, ("model", ""), ("status", "404")] == 1


async def test_tokens_and_times_are_counted_by_the_model_s_own_name(serve):
    async with serve() as server:
        await server.chat()
        await server.chat(model="gpt-4o", n=2)
        found = await page(server)
        assert found["aiadmin_prompt_tokens_total", MODEL] == 10
        assert found["aiadmin_completion_tokens_total", MODEL] == 9
        assert found["aiadmin_time_to_first_token_seconds_count", MODEL] == 2
        assert found["aiadmin_inter_token_latency_seconds_count", MODEL] == 6


async def test_cached_tokens_are_counted(serve):
    async def cached(request):
        yield Started(request.id, 10, 7)
        yield TextDelta(request.id, "a")
        yield Finished(request.id, "stop", Usage(prompt_tokens=10, completion_tokens=1, cached_tokens=7))

    async with serve(script=cached) as server:
        await server.chat()
        assert (await page(server))["aiadmin_cached_prompt_tokens_total", MODEL] == 7


async def test_errors_are_counted_by_code_those_within_streams_too(serve):
    async def failing(request):
        yield Started(request.id, 1)
        raise ZeroDivisionError

    async with serve(script=failing) as server:
        await server.chat(stream=True)
        await server.chat()
        await server.chat(model="missing")
        found = await page(server)
        chat = ("endpoint", "/v1/chat/completions")
        assert found["aiadmin_errors_total", ("code", "internal_error"), chat] == 2
        assert found["aiadmin_errors_total", ("code", "model_not_found"), chat] == 1


@pytest.mark.parametrize("n_engines", [1, 2])
def test_engines_speak_for_themselves(n_engines):
    stats = EngineStats(
        n_steps=10, n_sequences_decoded=35, max_batch=8, n_running=3, n_waiting=2, kv_used=5, kv_total=9
    )
    engine = SimpleNamespace(name="echo:latest", stats=stats, n_active=4)
    metrics = Metrics(SimpleNamespace(loaded=lambda: [engine] * n_engines, deaths=lambda: {"echo:latest": 3}))
    found = read(metrics.exposition("")[0].decode())
    assert found["aiadmin_engine_steps_total", MODEL] == 10 * n_engines
    assert found["aiadmin_engine_sequences_decoded_total", MODEL] == 35 * n_engines
    assert found["aiadmin_engine_max_batch", MODEL] == 8
    assert found["aiadmin_engine_running", MODEL] == 3 * n_engines
    assert found["aiadmin_engine_waiting", MODEL] == 2 * n_engines
    assert found["aiadmin_engine_kv_used", MODEL] == 5 * n_engines
    assert found["aiadmin_active_requests", MODEL] == 4 * n_engines
    assert found["aiadmin_runner_deaths_total", MODEL] == 3


def test_two_apps_do_not_share_their_counters():
    router = SimpleNamespace(loaded=list, deaths=dict)
    first, second = Metrics(router), Metrics(router)
    first.disconnected("/v1/chat/completions")
    assert b"aiadmin_client_disconnects_total{" in first.exposition("")[0]
    assert b"aiadmin_client_disconnects_total{" not in second.exposition("")[0]
