"""From what plugins offer to the APIs of a server."""

import sys
from types import ModuleType

import pytest
from litestar import get

from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_server.apis import Api, builtin, tell_plainly
from aiadmin_server.apis.loading import load_apis


@pytest.fixture
def module(monkeypatch):
    """An importable module to put APIs into."""
    made = ModuleType("stranger_api")
    monkeypatch.setitem(sys.modules, "stranger_api", made)
    return made


def offering(**references: str):
    class Plugin:
        @hookimpl
        def aiadmin_apis(self):
            return references

    return Plugin()


def make(name: str, *paths: str, routes=()) -> Api:
    return Api(name=name, title="", paths=paths, routes=routes, envelope=tell_plainly)


def load(*plugins):
    """What is served, and what each plugin did wrong."""
    loaded = load_plugins(builtin=[("ours", builtin), *plugins], only=[])
    offered = load_apis(loaded)
    return [one.name for one in offered if one.api], {plugin.name: plugin.trouble for plugin in loaded.broken}


OURS = ["openai", "ollama", "rerank", "aliases", "lmstudio", "health"]


def test_our_own_come_through_the_hook():
    assert load() == (OURS, {})


def test_a_plugin_s_api_is_loaded_after_ours(module):
    module.API = make("stranger", "/stranger")
    assert load(("plug", offering(stranger="stranger_api:API"))) == ([*OURS, "stranger"], {})


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("no_such_module_at_all:API", "ModuleNotFoundError"),
        ("stranger_api:MISSING", "AttributeError"),
        ("stranger_api:TEXT", "stranger_api:TEXT is str, not an Api"),
        ("stranger_api", 'not written "package.module:attribute"'),
        ("stranger_api:SLASH", "its path '/stranger/' must begin with a slash and not end with one"),
    ],
)
def test_one_that_cannot_be_had_is_named_and_the_others_are_served(module, reference, said, caplog):
    module.TEXT = "api"
    module.SLASH = make("stranger", "/stranger/")
    module.FINE = make("fine", "/fine")
    served, troubles = load(("plug", offering(stranger=reference, fine="stranger_api:FINE")))
    assert served == [*OURS, "fine"]
    assert said in troubles["plug"]
    assert said in caplog.text


@pytest.mark.parametrize(
    ("name", "api", "claim"),
    [
        ("stranger", make("stranger", "/stranger", "/v1"), "the paths below /v1"),
        ("openai", make("openai", "/stranger"), "this name"),
    ],
)
def test_two_that_claim_the_same_are_both_named_and_the_first_has_it(module, name, api, claim):
    module.API = api
    served, troubles = load(("plug", offering(**{name: "stranger_api:API"})))
    assert served == OURS
    said = f"the API 'openai' of the plugin 'ours' and the API '{name}' of the plugin 'plug' both claim {claim}"
    assert said in troubles["plug"]


async def test_an_api_inside_another_s_paths_tells_its_own_errors(serve, module):
    """Whoever raises them: the router of paths, the guard of the door, or whoever asks for keys."""

    class Keys:
        @hookimpl
        def aiadmin_authenticate(self, headers, path):
            if headers.get("authorization") == "wrong":
                raise ZeroDivisionError

    @get("/v1/inner/here", sync_to_thread=False)
    def here() -> str:
        return "here"

    module.API = Api(
        name="inner",
        title="",
        paths=("/v1/inner",),
        routes=(here,),
        envelope=lambda problem: {"oh": problem.code, "id": problem.request_id},
    )
    plugins = [("plug", offering(inner="stranger_api:API")), ("keys", Keys())]
    async with serve(plugins=plugins) as server:
        assert (await server.http.get("/v1/inner/here")).text == "here"
        missing = await server.http.get("/v1/inner/nothing")
        assert (missing.status_code, missing.json()["oh"]) == (404, "unknown_url")
        assert missing.json()["id"] == missing.headers["x-request-id"]
        assert (await server.http.post("/v1/inner/here")).json()["oh"] == "method_not_allowed"
        foreign = await server.http.get("/v1/inner/here", headers={"origin": "https://evil.example"})
        assert (foreign.status_code, foreign.json()["oh"]) == (403, "forbidden")
        refused = await server.http.get("/v1/inner/here", headers={"authorization": "wrong"})
        assert (refused.status_code, refused.json()["oh"]) == (500, "internal_error")
        assert (await server.http.get("/v1/nothing")).json()["error"]["code"] == "unknown_url"


async def test_a_route_that_is_taken_is_left_out_and_named(serve, module, caplog):
    @get("/health", sync_to_thread=False)
    def mine() -> str:
        return "taken"

    module.API = make("stranger", "/stranger", routes=(mine, "no handler"))
    async with serve(plugins=[("plug", offering(stranger="stranger_api:API"))]) as server:
        assert (await server.http.get("/health")).json()["status"] == "ok"
    assert caplog.text.count("which cannot be added") == 2
