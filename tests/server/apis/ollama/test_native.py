"""What the command line asks: `/api/*`, and the pages for people and machines beside it."""

import math
from types import SimpleNamespace

import pytest

import aiadmin_server
from aiadmin_core.specs.model import EngineStats, ModelFacts
from aiadmin_server.apis.ollama.root import SPOKEN


def loaded(**fields):
    given = {
        "name": "smollm2:latest",
        "names": ("smollm2:latest", "gpt-4"),
        "digest": "sha256:abc",
        "backend": "llamacpp",
        "state": "ready",
        "reason": "asked for as 'gpt-4', loaded in 1.2 s",
        "pid": 42,
        "pids": (42,),
        "size_bytes": 100,
        "facts": ModelFacts(n_ctx=2048),
        "stats": EngineStats(n_steps=7),
        "notes": ("safe mode: a crash",),
        "n_active": 1,
        "expires_at": 1_800_000_000.0,
    }
    return SimpleNamespace(**given | fields)


async def test_the_root_and_the_version(serve):
    async with serve() as server:
        root = await server.http.get("/")
        assert (root.status_code, root.text) == (200, "AiAdmin is running")
        assert (await server.http.head("/")).status_code == 200
        assert (await server.http.get("/api/version")).json() == {
            "version": SPOKEN,
            "aiadmin": aiadmin_server.__version__,
        }


async def test_ps_tells_what_is_loaded(serve):
    async with serve() as server:
        assert (await server.http.get("/api/ps")).json() == {"models": []}
        server.router.models = [loaded()]
        (model,) = (await server.http.get("/api/ps")).json()["models"]
        assert model["digest"] == "abc"
        assert model["details"]["family"] == ""
        assert model["expires_at"] == "2027-01-15T08:00:00Z"
        assert (model["pid"], model["state"], model["n_active"]) == (42, "ready", 1)
        assert (model["size"], model["size_vram"], model["context_length"]) == (100, 0, 2048)
        assert model["notes"] == ["safe mode: a crash"]
        assert model["stats"]["n_steps"] == 7
        assert model["names"] == ["smollm2:latest", "gpt-4"]
        assert model["reason"] == "asked for as 'gpt-4', loaded in 1.2 s"


async def test_ps_tells_what_went_and_why(serve):
    async with serve() as server:
        why = "idle for 5 min (keep_alive)"
        server.router.gone = [SimpleNamespace(name="a:latest", backend="llamacpp", at=1_800_000_000.0, why=why)]
        (gone,) = (await server.http.get("/api/ps")).json()["unloaded"]
        assert gone == {"name": "a:latest", "backend": "llamacpp", "at": "2027-01-15T08:00:00Z", "reason": why}


@pytest.mark.parametrize("expires_at", [None, math.inf, 1e30])
async def test_a_model_that_stays_has_a_date_far_away(serve, expires_at):
    async with serve() as server:
        server.router.models = [loaded(expires_at=expires_at, facts=ModelFacts(device="cuda:0"))]
        (model,) = (await server.http.get("/api/ps")).json()["models"]
        assert model["expires_at"].startswith("9999-")
        assert model["size_vram"] == 100


async def test_memory_of_devices_is_told_beside_that_of_the_machine(serve):
    async with serve() as server:
        server.router.models = [loaded(facts=ModelFacts(device="gpu", device_bytes=461))]
        (model,) = (await server.http.get("/api/ps")).json()["models"]
        assert (model["size"], model["size_vram"]) == (561, 461)


async def test_stop_unloads(serve):
    async with serve() as server:
        assert (await server.http.post("/api/stop", json={"model": "echo"})).json() == {"stopped": True}
        assert (await server.http.post("/api/stop", json={"model": "other"})).json() == {"stopped": False}
        assert server.router.stopped == ["echo", "other"]
        missing = await server.http.post("/api/stop", json={})
        assert missing.status_code == 400
        assert missing.json() == {"error": "Missing required parameter: 'model'."}


async def test_health_tells_what_is_wrong(serve):
    async with serve() as server:
        well = await server.http.get("/health")
        assert (well.status_code, well.json()["status"]) == (200, "ok")
        server.router.problems = ("echo: no heartbeat for 20 s",)
        ill = await server.http.get("/health")
        assert ill.status_code == 503
        assert ill.json()["problems"] == ["echo: no heartbeat for 20 s"]
