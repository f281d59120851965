"""`/api/aliases` over a real store."""

from typing import Any

import pytest

from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore


@pytest.fixture
def aliases(tmp_path) -> Aliases:
    """Those of a store with the models `small` and `org/large`."""
    store = ModelStore(tmp_path / "models")
    path = tmp_path / "model.gguf"
    for name in ("small", "org/large"):
        path.write_bytes(name.encode())
        store.add(name, FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
    return Aliases(store.aliases_path)


WHOLE: dict[str, Any] = {
    "target": "small",
    "fallbacks": ["org/large"],
    "backend": "llamacpp",
    "keep_alive": "10m",
    "system": "Be brief.",
    "lora": [{"name": "french", "scale": 0.5}],
    "parameters": {"temperature": 0.2, "stop": ["END"], "num_ctx": 512, "rope_scaling": "none"},
}


async def test_an_alias_is_set_shown_listed_and_removed(serve, aliases):
    async with serve() as server:
        put = await server.http.put("/api/aliases/gpt-4o", json=WHOLE)
        assert (put.status_code, put.json()) == (200, {"name": "gpt-4o", "resolved": "small:latest"} | WHOLE)
        assert (await server.http.get("/api/aliases/gpt-4o")).json() == put.json()
        assert (await server.http.get("/api/aliases")).json() == {"aliases": [put.json()]}
        assert aliases.get("gpt-4o").fallbacks == ("org/large",)
        assert (await server.http.delete("/api/aliases/GPT-4o")).status_code == 200
        assert (await server.http.get("/api/aliases")).json() == {"aliases": []}


async def test_one_stop_string_is_a_list_of_one(serve, aliases):
    async with serve() as server:
        put = await server.http.put("/api/aliases/x", json={"target": "small", "parameters": {"stop": "END"}})
    assert put.json()["parameters"] == {"stop": ["END"]}


@pytest.mark.parametrize("name", ["claude-*", "org/gpt:v1", "*"])
async def test_names_with_slashes_and_patterns_are_names(serve, aliases, name):
    async with serve() as server:
        assert (await server.http.put(f"/api/aliases/{name}", json={"target": "small"})).json()["name"] == name
        assert (await server.http.get(f"/api/aliases/{name}")).json()["target"] == "small"
        assert (await server.http.delete(f"/api/aliases/{name}")).status_code == 200
    assert aliases.all() == {}


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("x", {"target": "smal"}, "no model 'smal' that the alias could stand for. Did you mean 'small'?"),
        ("x", {"target": "small", "fallbacks": ["nonesuch"]}, "no model 'nonesuch'"),
        ("x", {"target": "x"}, "leads back to itself: x -> x"),
        ("small", {"target": "org/large"}, "goes before an alias of that name"),
        ("x y", {"target": "small"}, "is no model name"),
        ("x", {}, "'target'"),
        ("x", {"target": 1}, "'target'"),
        ("x", {"target": "small", "temperature": 1}, "An alias has no field 'temperature'"),
        ("x", {"target": "small", "parameters": {"temprature": 1}}, "Did you mean 'temperature'?"),
        ("x", {"target": "small", "parameters": {"temperature": 9}}, "parameters.temperature cannot be 9"),
        ("x", {"target": "small", "parameters": {"temperature": "hot"}}, "it is a number"),
        ("x", {"target": "small", "parameters": {"num_ctx": 0}}, "it is a whole number of at least 1"),
        ("x", {"target": "small", "parameters": {"stop": 1}}, "it is a list"),
        ("x", {"target": "small", "parameters": {"rope_scaling": "magic"}}, "magic"),
        ("x", {"target": "small", "backend": "lamacpp"}, "Did you mean 'llamacpp'?"),
        ("x", {"target": "small", "keep_alive": "soon"}, "keep_alive"),
    ],
)
async def test_what_cannot_be_is_a_sentence(serve, aliases, name, body, says):
    async with serve() as server:
        refused = await server.http.put(f"/api/aliases/{name}", json=body)
    assert refused.status_code == 400
    assert says in refused.json()["error"]
    assert aliases.all() == {}


async def test_an_alias_of_what_is_not_here_yet_can_be_wanted(serve, aliases):
    async with serve() as server:
        put = await server.http.put("/api/aliases/x", json={"target": "later", "missing_ok": True})
        assert put.status_code == 200
        assert "resolved" not in put.json()
        assert "is not here" in put.json()["problem"]


async def test_an_alias_that_is_none_is_a_404(serve, aliases):
    async with serve() as server:
        for answer in (await server.http.get("/api/aliases/x"), await server.http.delete("/api/aliases/x")):
            assert (answer.status_code, answer.json()["error"][:26]) == (404, "There is no alias 'x'. `ai")


async def test_a_damaged_entry_is_named_and_stays(serve, aliases):
    aliases.set("good", Alias(target="small"))
    aliases.path.write_text(aliases.path.read_text().replace("{", '{"bad": {"target": 1},', 1))
    async with serve() as server:
        listed = (await server.http.get("/api/aliases")).json()
        assert [alias["name"] for alias in listed["aliases"]] == ["good"]
        assert "'bad'" in listed["problem"]
        assert (await server.http.get("/api/aliases/bad")).status_code == 500
        await server.http.delete("/api/aliases/good")
    assert "bad" in aliases.path.read_text()


async def test_an_alias_with_a_fallback_is_listed_with_what_it_is_of(serve, aliases):
    aliases.set("x", Alias(target="gone", fallbacks=("small",)))
    aliases.set("gpt-*", Alias(target="org/large"))
    async with serve() as server:
        models = {model["id"]: model for model in (await server.http.get("/v1/models")).json()["data"]}
    assert models["x"]["alias_of"] == "gone"
    assert models["gpt-*"]["alias_of"] == "org/large"
