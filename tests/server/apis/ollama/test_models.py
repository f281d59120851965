"""`/api/tags`, `/api/show`, `/api/copy` and `/api/delete` over a real store."""

from datetime import datetime
from types import SimpleNamespace

import pytest

from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts


def loaded(model, **fields):
    given = {
        "name": model.name,
        "names": (model.name,),
        "digest": model.weights_digest,
        "backend": "gguf",
        "state": "ready",
        "reason": "",
        "pid": 42,
        "pids": (42,),
        "size_bytes": 100,
        "facts": ModelFacts(n_ctx=2048),
        "stats": EngineStats(),
        "notes": (),
        "n_active": 0,
        "expires_at": None,
        "capabilities": Capabilities(tools=True),
    }
    return SimpleNamespace(**given | fields)


async def test_models_and_aliases_are_listed_with_their_tags(serve, store):
    model = store.find("smollm2")
    async with serve() as server:
        found = {one["name"]: one for one in (await server.http.get("/api/tags")).json()["models"]}
        assert set(found) == {"smollm2:latest", "small:latest"}
        own = found["smollm2:latest"]
        assert own["model"] == "smollm2:latest"
        assert own["digest"] == model.digest.removeprefix("sha256:")
        assert own["size"] == model.size
        assert datetime.fromisoformat(own["modified_at"]).timestamp() == pytest.approx(model.modified_at, abs=1e-3)
        assert own["details"] == {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "134.52M",
            "quantization_level": "Q4_1",
            "context_length": 8192,
            "embedding_length": 576,
        }
        assert found["small:latest"]["alias_of"] == "smollm2"
        assert found["small:latest"]["digest"] == own["digest"]
        head = await server.http.head("/api/tags")
        assert (head.status_code, head.content) == (200, b"")


async def test_a_loaded_model_tells_what_it_can(serve, store):
    """A model that only converses completes, in Ollama's words."""
    async with serve() as server:
        server.router.models = [loaded(store.find("smollm2"))]
        found = {one["name"]: one for one in (await server.http.get("/api/tags")).json()["models"]}
        assert found["smollm2:latest"]["capabilities"] == ["completion", "chat", "tools"]
        shown = (await server.http.post("/api/show", json={"model": "small"})).json()
        assert shown["capabilities"] == ["completion", "chat", "tools"]
        (running,) = (await server.http.get("/api/ps")).json()["models"]
        assert running["details"] == found["smollm2:latest"]["details"]
        assert running["digest"] == found["smollm2:latest"]["digest"]


async def test_a_model_is_shown_as_its_header_has_it(serve, store, gguf):
    """What it can do is read off its files while it is not loaded; long lists are left out."""
    async with serve(plugins=[gguf]) as server:
        shown = (await server.http.post("/api/show", json={"model": "SmolLM2"})).json()
        assert shown["capabilities"] == ["completion", "chat", "tools", "thinking"]
        listed = {one["name"]: one for one in (await server.http.get("/api/tags")).json()["models"]}
        assert (
            listed["smollm2:latest"]["capabilities"] == listed["small:latest"]["capabilities"] == shown["capabilities"]
        )
        models = {one["id"]: one for one in (await server.http.get("/v1/models")).json()["data"]}
        assert models["small"]["capabilities"] == [*shown["capabilities"], "reasoning"]
        assert models["small"]["loaded"] is False
        assert shown["model_info"]["llama.context_length"] == 8192
        assert shown["model_info"]["general.parameter_count"] == 134_515_008
        assert shown["model_info"]["tokenizer.ggml.tokens"] is None
        assert shown["template"] == "{{ messages }}<think></think>"
        assert (shown["system"], shown["license"]) == ("Be brief.", "Apache-2.0")
        lines = {tuple(line.split(maxsplit=1)) for line in shown["parameters"].splitlines()}
        assert {("temperature", "0.2"), ("stop", '"<end>"'), ("stop", '"</s>"')} <= lines
        assert "FROM smollm2:latest\n" in shown["modelfile"]
        assert 'SYSTEM """Be brief."""\n' in shown["modelfile"]
        assert "PARAMETER temperature 0.2\n" in shown["modelfile"]
        verbose = (await server.http.post("/api/show", json={"name": "smollm2", "verbose": True})).json()
        assert verbose["model_info"]["tokenizer.ggml.tokens"] == ["a", "b"]


async def test_an_alias_is_shown_as_what_it_leads_to_with_its_own_defaults(serve, store):
    async with serve() as server:
        shown = (await server.http.post("/api/show", json={"model": "small"})).json()
        assert "PARAMETER num_ctx 512" in shown["modelfile"]
        assert shown["details"]["family"] == "llama"
        asked = {"model": "small", "options": {"num_ctx": 64}, "system": "Shout."}
        asked = (await server.http.post("/api/show", json=asked)).json()
        assert "PARAMETER num_ctx 64" in asked["modelfile"]
        assert 'SYSTEM """Shout."""' in asked["modelfile"]


async def test_a_copy_shares_the_files_and_overwrites(serve, store):
    async with serve() as server:
        response = await server.http.post("/api/copy", json={"source": "smollm2", "destination": "gpt-4"})
        assert (response.status_code, response.content) == (200, b"")
        assert store.find("gpt-4").digest == store.find("smollm2").digest
        over = await server.http.post("/api/copy", json={"source": "smollm2", "destination": "small"})
        assert over.status_code == 200
        assert store.find("small") is not None, "the alias gave way"


async def test_a_model_is_deleted_by_either_field(serve, store):
    store.copy("smollm2", "other")
    async with serve() as server:
        for body in ({"model": "smollm2"}, {"name": "other"}):
            response = await server.http.request("DELETE", "/api/delete", json=body)
            assert (response.status_code, response.content) == (200, b"")
        assert store.models() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/api/show", {"model": "nope"}, 404, "not found"),
        ("POST", "/api/show", {}, 400, "model is required"),
        ("POST", "/api/copy", {"source": "nope", "destination": "other"}, 404, "not found"),
        ("POST", "/api/copy", {"source": "smollm2", "destination": "../x"}, 400, "is no model name"),
        ("DELETE", "/api/delete", {"model": "nope"}, 404, "not found"),
        ("DELETE", "/api/delete", {"model": "a b"}, 400, "is no model name"),
        ("DELETE", "/api/delete", {}, 400, "model is required"),
        ("POST", "/api/push", {"model": "nope"}, 404, "not found"),
        ("POST", "/api/push", {}, 400, "model is required"),
        ("GET", "/api/copy", None, 405, "does not take this method: it takes POST."),
    ],
)
async def test_what_is_not_there_or_no_name_is_told_so(serve, store, method, path, body, status, text):
    async with serve() as server:
        response = await server.http.request(method, path, json=body)
        assert response.status_code == status
        assert text in response.json()["error"]
