"""`/v1/models` over a real store."""

from types import SimpleNamespace

import pytest

from aiadmin_core.backend import Backend as BackendBase
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


def backend(name: str, serves: str, *, offers: tuple[str, ...] = ()):
    """A plugin with a backend for one format of models, which perhaps brings some along."""

    class Bring(BackendBase):
        def suitability(self, model):
            return 50 if model.format == serves else None

        def open_engine(self, model, options):
            raise NotImplementedError

        def models(self):
            return [ModelSpec(name=offer, digest="", format=serves, files=()) for offer in offers]

    Bring.name = name

    class Plugin:
        @hookimpl
        def aiadmin_backends(self):
            return [Bring()]

    return name, Plugin()


GGUF = [backend("llamacpp", "gguf")]


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


async def test_a_model_that_only_embeds_says_so_and_nothing_else(serve, store):
    able = Capabilities(generates=False, protocols=frozenset({"embed", "tokenize"}))
    async with serve(plugins=GGUF) as server:
        server.router.models = [loaded(digest=store.find("smollm2").weights_digest, capabilities=able)]
        assert (await server.http.get("/v1/models/smollm2")).json()["capabilities"] == ["embedding", "embeddings"]


async def test_models_and_aliases_are_listed_with_what_is_known(serve, store):
    async with serve(plugins=GGUF) as server:
        digest = store.find("smollm2").weights_digest
        server.router.models = [loaded(digest=digest)]
        listed = (await server.http.get("/v1/models")).json()
        assert listed["object"] == "list"
        models = {model["id"]: model for model in listed["data"]}
        assert set(models) == {"smollm2", "me/other:v1", "small", "gpt-4o"}
        one = models["smollm2"]
        assert one["object"] == "model"
        assert one["owned_by"] == "library"
        assert isinstance(one["created"], int)
        assert one["format"] == "gguf"
        assert (one["loaded"], one["backend"], one["context_length"]) == (True, "llamacpp", 2048)
        assert one["capabilities"] == ["chat", "tools", "logprobs"]
        assert one["max_output_tokens"] == 2047
        assert models["gpt-4o"]["alias_of"] == "small"
        assert models["gpt-4o"]["loaded"] is True
        assert models["me/other:v1"]["owned_by"] == "me"
        assert {model.id async for model in server.openai.models.list()} == set(models)


async def test_capabilities_have_the_names_that_clients_look_for(serve, store):
    able = Capabilities(
        inputs=frozenset({"chat", "text"}),
        modalities=frozenset({"text", "image"}),
        constraints=frozenset({"json_object", "json_schema"}),
        tools=True,
        reasoning=True,
        suffix=True,
        protocols=frozenset({"embed"}),
    )
    async with serve(plugins=GGUF) as server:
        server.router.models = [loaded(digest=store.find("smollm2").weights_digest, capabilities=able)]
        found = (await server.http.get("/v1/models/smollm2")).json()["capabilities"]
    assert {"tools", "json", "reasoning", "embeddings", "infill", "vision"} <= set(found)
    assert {"completion", "chat", "thinking", "insert", "embedding", "json_object", "json_schema"} <= set(found)


async def test_what_would_serve_a_model_is_told_before_it_is_loaded(serve, store):
    async with serve(plugins=GGUF) as server:
        models = {model["id"]: model for model in (await server.http.get("/v1/models")).json()["data"]}
        assert {model["backend"] for model in models.values()} == {"llamacpp"}
        assert not any(model["loaded"] for model in models.values())
        assert not any("capabilities" in model for model in models.values())


@pytest.mark.parametrize("name", ["smollm2", "SmolLM2:latest", "me/other:v1", "me%2Fother:v1", "gpt-4o"])
async def test_one_model_is_found_by_any_spelling(serve, store, name):
    async with serve(plugins=GGUF) as server:
        response = await server.http.get(f"/v1/models/{name}")
        assert response.status_code == 200
        assert response.json()["id"] in {"smollm2", "me/other:v1", "gpt-4o"}


@pytest.mark.parametrize("name", ["nothing", "a/b/c/d/e", "..%2F..%2Fetc", "nowhere"])
async def test_a_model_that_is_not_there_is_a_404(serve, store, name):
    async with serve(plugins=GGUF) as server:
        response = await server.http.get(f"/v1/models/{name}")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "model_not_found"


async def test_models_that_backends_offer_are_listed(serve):
    async with serve(plugins=[backend("offering", "other", offers=("parrot:latest", "jay:latest"))]) as server:
        server.router.models = [loaded(name="jay:latest")]
        models = (await server.http.get("/v1/models")).json()["data"]
        assert [(model["id"], model["loaded"]) for model in models] == [("parrot", False), ("jay", True)]
        assert (await server.openai.models.retrieve("parrot")).id == "parrot"
        found = (await server.http.get("/v1/models/Offering/parrot:latest")).json()
        assert (found["id"], found["backend"]) == ("Offering/parrot", "offering")
        assert (await server.http.get("/v1/models/offering/crow")).status_code == 404


async def test_a_model_whose_backend_is_not_installed_is_listed_with_what_to_install(serve, store):
    async with serve(plugins=[]) as server:
        models = (await server.http.get("/v1/models")).json()["data"]
        assert {model["id"] for model in models} == {"smollm2", "me/other:v1", "small", "gpt-4o"}
        for model in models:
            assert "pip install aiadmin-backend-llamacpp" in model["problem"]


@pytest.mark.parametrize("name", ["other/smollm2", "Other/gpt-4o", "theirs", "missing/smollm2"])
async def test_a_name_that_a_request_would_be_refused_for_is_refused_in_the_same_words(serve, store, name):
    """Asking for a backend that does not serve the model, or is not there."""
    aliases = Aliases(store.aliases_path)
    aliases.set("theirs", Alias(target="smollm2", backend="other"))
    async with serve(plugins=[backend("llamacpp", "gguf"), backend("other", "other")]) as server:
        refused = await server.http.get(f"/v1/models/{name}")
        assert refused.status_code == (404 if name == "missing/smollm2" else 501)
        assert refused.json()["error"]["message"]
        listed = {model["id"]: model.get("problem") for model in (await server.http.get("/v1/models")).json()["data"]}
        assert "'other' cannot serve" in listed["theirs"]
        assert listed["smollm2"] is None
