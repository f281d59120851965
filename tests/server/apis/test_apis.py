"""Whose a path is, and what is said where there is nothing."""

import pytest
from litestar import get

from aiadmin_server.apis import PLAIN, Api, Apis, tell_plainly


def api(name: str, *paths: str, **fields) -> Api:
    return Api(**{"name": name, "title": "", "paths": paths, "routes": (), "envelope": tell_plainly} | fields)


@get("/v1/things/{name:str}")
async def thing(name: str) -> str:
    return name


INNER, OUTER = api("inner", "/v1/messages"), api("outer", "/v1", title="Theirs", routes=(thing,), absent=("/v1/audio",))
NATIVE = api("native", "/native", absent=("/native/chat",))
APIS = Apis([OUTER, INNER, NATIVE])


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/v1/messages", INNER),
        ("/v1/messages/batches", INNER),
        ("/v1/messages2", OUTER),
        ("/v1", OUTER),
        ("/v1/anything", OUTER),
        ("/v10", PLAIN),
        ("/", PLAIN),
    ],
)
def test_the_longest_prefix_has_a_path(path, owner):
    assert APIS.at(path) is owner


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/audio/speech", "AiAdmin does not serve this endpoint."),
        ("/things/one", "Theirs is under /v1: set the base URL to http://box:1/v1"),
        ("/audio", "Theirs is under /v1: set the base URL to http://box:1/v1"),
        ("/nowhere", "Check the address: Theirs is under /v1."),
        ("/v1/nowhere", "Check the address: Theirs is under /v1."),
        ("/v1/thinks", "Did you mean /v1/things?"),
        ("/v1/v1/things", "The address has /v1 twice: set the base URL to http://box:1/v1"),
        ("/v1/complete", "This endpoint is Anthropic's, and not served here: Theirs is under /v1."),
        ("/v1/messages", "Check the address: Theirs is under /v1."),  # INNER has them
        ("/native/chat", "AiAdmin does not serve this endpoint: Theirs is under /v1."),
    ],
)
def test_where_there_is_nothing_the_address_is_helped(path, said):
    assert said in APIS.nothing_at(path, host="box:1")


def test_without_apis_there_is_only_nothing():
    assert Apis([]).nothing_at("/", host="box") == "Check the address: nothing is served here."
