"""`/v1/models` over a real store."""

from types import SimpleNamespace

import pytest

from aiadmin_core.backend import Health
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore


@pytest.fixture
def store(tmp_path) -> ModelStore:
    """One model under two names, and an alias that leads there by way of another."""
    store = ModelStore(tmp_path / "models")
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    store.add("smollm2", FetchedModel(files=(FetchedFile(path=path),), format="gguf", origin="file:model.gguf"))
    store.copy("smollm2", "me/other:v1")
    aliases = Aliases(store.aliases_path)
    aliases.set("small", Alias(target="smollm2"))
    aliases.set("gpt-4o", Alias(target="small"))
    aliases.set("nowhere", Alias(target="missing"))
    aliases.set("SmolLM2", Alias(target="me/other:v1"))  # the model of this name goes before it
    return store


def loaded(**fields):
    given = {
        "name": "smollm2:latest",
        "digest": "",
        "backend": "llamacpp",
        "state": "ready",
        "pid": 42,
        "size_bytes": 100,
        "facts": ModelFacts(n_ctx=2048),
        "stats": EngineStats(),
        "notes": (),
        "n_active": 0,
        "expires_at": None,
        "capabilities": Capabilities(tools=True, max_logprobs=5),
    }
    return SimpleNamespace(**given | fields)


async def test_models_and_aliases_are_listed_with_what_is_known(serve, store):
    async with serve() as server:
        digest = store.find("smollm2").weights_digest
        server.router.models = [loaded(digest=digest)]
        listed = (await server.http.get("/v1/models")).json()
        assert listed["object"] == "list"
        models = {model["id"]: model for model in listed["data"]}
        assert set(models) == {"smollm2:latest", "me/other:v1", "small", "gpt-4o"}
        one = models["smollm2:latest"]
        assert one["object"] == "model"
        assert one["owned_by"] == "library"
        assert isinstance(one["created"], int)
        assert one["format"] == "gguf"
        assert (one["loaded"], one["backend"], one["context_length"]) == (True, "llamacpp", 2048)
        assert one["capabilities"] == ["chat", "tools", "logprobs"]
        assert models["gpt-4o"]["alias_of"] == "small"
        assert models["gpt-4o"]["loaded"] is True
        assert models["me/other:v1"]["owned_by"] == "me"
        assert {model.id async for model in server.openai.models.list()} == set(models)


@pytest.mark.parametrize("name", ["smollm2", "SmolLM2:latest", "me/other:v1", "me%2Fother:v1", "gpt-4o"])
async def test_one_model_is_found_by_any_spelling(serve, store, name):
    async with serve() as server:
        response = await server.http.get(f"/v1/models/{name}")
        assert response.status_code == 200
        assert "id" in response.json()


@pytest.mark.parametrize("name", ["nothing", "a/b/c/d/e", "..%2F..%2Fetc", "nowhere"])
async def test_a_model_that_is_not_there_is_a_404(serve, store, name):
    async with serve() as server:
        response = await server.http.get(f"/v1/models/{name}")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


async def test_models_that_backends_offer_are_listed(serve):
    class Offering:
        name = "offering"

        def models(self):
            return [
                ModelSpec(name=name, digest="", format="other", files=()) for name in ("parrot:latest", "jay:latest")
            ]

        def suitability(self, model):
            return 50

        def inspect(self, path):
            return None

        def build_id(self):
            return ""

        def health(self):
            return Health(ok=True, summary="fine")

        def open_engine(self, model, options):
            raise NotImplementedError

    class Plugin:
        @hookimpl
        def aiadmin_backends(self):
            return [Offering()]

    async with serve(plugins=[("offering", Plugin())]) as server:
        server.router.models = [loaded(name="jay:latest")]
        models = (await server.http.get("/v1/models")).json()["data"]
        assert [(model["id"], model["loaded"]) for model in models] == [
            ("parrot:latest", False),
            ("jay:latest", True),
        ]
        assert (await server.openai.models.retrieve("parrot")).id == "parrot:latest"
        found = (await server.http.get("/v1/models/Offering/parrot")).json()
        assert (found["id"], found["backend"]) == ("Offering/parrot", "offering")
        assert (await server.http.get("/v1/models/offering/crow")).status_code == 404
