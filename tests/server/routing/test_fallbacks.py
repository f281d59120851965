"""Another model answers where the one that was meant cannot, and says so."""

import asyncio

import pytest

from aiadmin_core.errors import BadRequest, ModelLoadFailed, ModelNotFound, Overloaded, StoreError
from aiadmin_server.routing.fallbacks import Fallback, Fallbacks, failed_with


async def leased(world, name, **asked):
    """The name of the model that is leased, and the lease."""
    async with world.router.lease(name, **asked) as lease:
        return lease.resolved, lease


async def test_a_model_that_is_missing(make_world):
    world = make_world()
    world.fallbacks["gpt-4o"] = ("b", "c")
    model, lease = await leased(world, "gpt-4o")
    assert model == "b"
    assert lease.fell_back == "The model 'gpt-4o' was not found."
    assert lease.answers_as == "b"
    assert (lease.requested, lease.backend) == ("gpt-4o", "fast")


async def test_a_model_that_cannot_be_loaded(make_world, caplog):
    caplog.set_level("INFO", logger="aiadmin_server.routing")
    world = make_world()
    world.fallbacks["a"] = ("b",)
    world.opener.errors["a"] = ModelLoadFailed("a is broken.", hint="Mend it.")
    assert (await leased(world, "a"))[0] == "b"
    assert "'a' is answered by b, a fallback: a is broken." in caplog.messages
    (entry,) = world.router.loaded()
    assert "asked for as 'a', as a fallback (a is broken)" in entry.reason
    (taken,) = world.router.fallbacks()
    assert (taken.name, taken.model, taken.reason) == ("a", "b", "a is broken.")


async def test_a_model_that_is_full(make_world, settled):
    world = make_world(max_queue=1)
    world.fallbacks["a"] = ("b",)
    gate = world.opener.gates["a"] = asyncio.Event()
    waiting = asyncio.create_task(leased(world, "a"))
    await settled()
    model, lease = await leased(world, "a")
    assert model == "b"
    assert "1 requests are waiting for a already." in lease.fell_back
    gate.set()
    assert (await waiting)[0] == "a"


async def test_a_model_that_no_backend_serves(make_world):
    world = make_world()
    world.add("odd", format="nobody's")
    world.fallbacks["odd"] = ("c",)
    assert (await leased(world, "odd"))[0] == "c"


async def test_the_model_itself_answers_again_as_soon_as_it_can(make_world):
    world = make_world()
    world.fallbacks["a"] = ("b",)
    world.opener.errors["a"] = ModelLoadFailed("a is broken.")
    await leased(world, "a")
    del world.opener.errors["a"]
    world.clock.advance(60)
    model, lease = await leased(world, "a")
    assert (model, lease.fell_back, lease.answers_as) == ("a", "", "a")


async def test_where_none_can_the_first_reason_is_told_with_the_others(make_world):
    world = make_world()
    world.fallbacks["a"] = ("b", "nonesuch")
    world.opener.errors["a"] = ModelLoadFailed("a is broken.", hint="Mend it.")
    world.opener.errors["b"] = ModelLoadFailed("b is broken.")
    with pytest.raises(ModelLoadFailed) as caught:
        await leased(world, "a")
    assert caught.value.message == "a is broken."
    assert caught.value.hint.startswith("Mend it. Nor can what it falls back on: b is broken. The model 'nonesuch'")
    assert world.opener.errors["a"].hint == "Mend it.", "the error of another request is left as it was"


async def test_what_is_wrong_with_the_request_is_not_tried_elsewhere(make_world):
    world = make_world()
    world.fallbacks["a"] = ("b",)

    def refuse(name, passed=0):
        assert not passed
        raise BadRequest("no")

    world.router._resolve = refuse
    with pytest.raises(BadRequest, match="no"):
        await leased(world, "a")


async def test_a_model_that_serves_as_a_fallback_keeps_its_name_and_goes_by_it(make_world):
    """Also once the model that was meant is there: `aiadmin stop` ends whatever answered."""
    world = make_world()
    world.fallbacks["x"] = ("b",)
    await leased(world, "x")
    await world.router.refresh()
    (entry,) = world.router.loaded()
    assert entry.names == ("b", "x")
    assert await world.router.unload("x")
    assert world.opener.running() == []


def test_the_latest_of_each_are_kept_and_not_all():
    fallbacks = Fallbacks()
    for n in range(40):
        fallbacks.taken(Fallback(name=f"n{n % 20}", model="m", at=float(n), reason="r"))
    assert [one.at for one in fallbacks.latest()] == [float(n) for n in range(39, 23, -1)]


def test_an_error_with_another_hint_is_of_the_same_kind():
    first = ModelNotFound("x", hint="h")
    told = failed_with([first, StoreError("s."), Overloaded("o.")])
    assert isinstance(told, ModelNotFound)
    assert (told.status, told.param, str(told)) == (
        404,
        first.param,
        f"{first.message} h Nor can what it falls back on: s. o.",
    )
    assert failed_with([first]) is first
