"""`/api/push` and `/api/pull` with a real registry, as Ollama's clients use them."""

import asyncio
import json

import ollama
import pytest

from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.sources import installed
from aiadmin_server.store.store import ModelStore

from ...sources.registry.running import running_registry

CONTENT = b"GGUF" + b"p" * 200_000
PLUGINS = [("sources", installed)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def store(tmp_path):
    """The server's."""
    return ModelStore(tmp_path / "models")


@pytest.fixture
def stored(store, tmp_path):
    def add(name):
        path = tmp_path / "weights.gguf"
        path.write_bytes(CONTENT)
        return store.add(name, FetchedModel(files=(FetchedFile(path=path),), format="gguf"))

    return add


async def test_ollamas_client_pushes_and_pulls(serve, registry, stored, store):
    name = f"{registry}/team/model:v1"
    model = stored(name)
    async with serve(plugins=PLUGINS, private_sources=True) as server:
        client = ollama.AsyncClient(host=server.url)
        steps = [step async for step in await client.push(name, stream=True)]
        assert steps[0].status == "retrieving manifest"
        assert [step.status for step in steps[-2:]] == ["pushing manifest", "success"]
        layers = {step.digest: step.total for step in steps if step.digest}
        assert layers[model.weights_digest] == len(CONTENT)
        assert all(step.status == f"pushing {step.digest[7:19]}" for step in steps if step.digest)

        await client.delete(name)
        assert store.models() == []
        steps = [step async for step in await client.pull(name, stream=True)]
        assert steps[0].status == "pulling manifest"
        assert steps[-1].status == "success"
        assert any(step.status == f"pulling {model.weights_digest[7:19]}" for step in steps)
        assert store.find(name).digest == model.digest
        assert (await client.pull(name)).status == "success"


async def test_what_cannot_be_pushed_over_http_is_refused(serve, registry, stored):
    stored(f"{registry}/team/mine")
    stored("Plain")
    async with serve(plugins=PLUGINS, registry="http://127.0.0.1:1") as server:
        for body, status, text in (
            ({"model": "nope"}, 404, "not found"),
            ({"model": "a/b/c/d"}, 400, "is no model name"),
            ({}, 400, "model is required"),
            ({"model": "Plain", "stream": False}, 502, "127.0.0.1:1 cannot be reached"),
            ({"model": f"{registry}/team/mine", "stream": False}, 502, "not public"),
        ):
            response = await server.http.post("/api/push", json=body)
            assert response.status_code == status
            assert text in response.json()["error"]
        lines = (await server.http.post("/api/push", json={"model": "Plain"})).text.splitlines()
        assert "cannot be reached" in json.loads(lines[-1])["error"]


async def test_a_registry_that_the_administrator_chose_may_be_this_machines(
    serve, registry, stored, store, monkeypatch
):
    monkeypatch.setenv("AIADMIN_REGISTRY", f"http://{registry}")
    model = stored("plain")
    async with serve(plugins=PLUGINS, registry=f"http://{registry}") as server:
        pushed = await server.http.post("/api/push", json={"model": "plain", "stream": False})
        assert pushed.json() == {"status": "success"}
        await asyncio.to_thread(store.remove, "plain")
        pulled = await server.http.post("/api/pull", json={"model": "plain", "stream": False})
        assert pulled.json() == {"status": "success"}
    assert store.find("plain").digest == model.digest


async def test_a_name_that_no_registry_knows_is_the_last_line(serve, registry, monkeypatch):
    monkeypatch.setenv("AIADMIN_REGISTRY", f"http://{registry}")
    async with serve(plugins=PLUGINS) as server:
        lines = (await server.http.post("/api/pull", json={"model": "nope"})).text.splitlines()
        assert "not found" in json.loads(lines[-1])["error"]
        assert (await server.http.post("/api/pull", json={"model": "nope", "stream": False})).status_code == 404
