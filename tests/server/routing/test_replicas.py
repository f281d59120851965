"""Several engines behind one name, over a fake opener and a fake clock."""

import asyncio

import pytest

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.memory import Memory
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_server.routing.affinity import Beginning, beginnings
from aiadmin_server.routing.fleet import GROW_AGAIN_S

TWO = EngineOptions(n_replicas=2)
LONG = [Beginning(b"a long text", 10_000)]


class OnlyOne(asyncio.Event):
    """A gate that lets the first through at once."""

    n_asked = 0

    async def wait(self):
        self.n_asked += 1
        return self.n_asked == 1 or await super().wait()


@pytest.fixture
async def world(make_world, settled):
    """Model `a` is loaded, in two engines."""
    world = make_world()
    world.add("a", options=TWO, parameters={"weights": 7})
    async with world.router.lease("a"):
        await settled()
    return world


async def test_the_first_engine_answers_while_the_second_is_opened(make_world, settled):
    world = make_world()
    world.add("a", options=TWO)
    gate = world.opener.gates["a"] = OnlyOne()
    async with world.router.lease("a"):
        assert world.opener.running() == ["a"]
        gate.set()
        await settled()

    assert world.opener.running() == ["a", "a"]
    (model,) = world.router.loaded()
    assert "2 engines answer for it" in model.notes


async def test_requests_at_once_are_shared_out(world):
    async with world.router.lease("a") as first, world.router.lease("a") as second:
        assert first.engine is not second.engine


async def test_a_prompt_goes_where_its_beginning_was_read(world):
    async with world.router.lease("a"), world.router.lease("a", begins=lambda: LONG) as first:
        pass

    async with world.router.lease("a", begins=lambda: LONG) as second:
        assert second.engine is first.engine
        async with world.router.lease("a") as other:
            assert other.engine is not first.engine


async def test_prompts_with_one_key_go_where_the_first_went(world):
    def asked(text, key):
        return lambda: beginnings([GenerateRequest(id=1, input=TextInput(text=text), cache_key=key)])

    async with world.router.lease("a"), world.router.lease("a", begins=asked("The sea.", "ann")) as first:
        pass

    async with world.router.lease("a", begins=asked("A mountain.", "ann")) as second:
        assert second.engine is first.engine
        async with world.router.lease("a", begins=asked("A river.", "ann")) as other:
            assert other.engine is not first.engine, "the key is no reason to wait"


async def test_a_model_in_one_engine_is_not_asked_how_prompts_begin(make_world):
    world = make_world()

    async with world.router.lease("b", begins=lambda: pytest.fail("asked")):
        pass


async def test_where_one_dies_the_other_goes_on_and_another_is_opened(world, settled):
    dead, alive = world.opener.opened
    dead.is_usable = False
    dead.ended.set_result(-9)
    async with world.router.lease("a") as lease:
        assert lease.engine is alive.engine
        await settled()

    assert world.opener.running() == ["a", "a"]
    assert world.router.deaths() == {"a": 1}


async def test_one_that_cannot_be_opened_is_tried_again_later(make_world, settled):
    world = make_world()
    world.add("a", options=TWO)
    gate = world.opener.gates["a"] = OnlyOne()
    async with world.router.lease("a"):
        world.opener.errors["a"] = ModelLoadFailed("No memory.")
        gate.set()
        await settled()
    (model,) = world.router.loaded()
    assert (model.state, "1 of 2 engines answer for it" in model.notes) == ("ready", True)

    del world.opener.errors["a"]
    async with world.router.lease("a"):
        await settled()
    assert world.opener.running() == ["a"]

    world.clock.advance(GROW_AGAIN_S)
    async with world.router.lease("a"):
        await settled()
    assert world.opener.running() == ["a", "a"]


async def test_where_memory_is_short_there_are_fewer(make_world, settled):
    world = make_world()
    world.add("a", options=TWO, parameters={"weights": 10_000})
    world.memory = Memory(total=10**12, available=9_000)
    async with world.router.lease("a"):
        await settled()

    assert world.opener.running() == ["a"]


async def test_all_of_them_go_together(world):
    assert await world.router.unload("a")

    assert world.opener.running() == []


async def test_one_that_is_being_opened_is_given_up_with_the_others(make_world, settled):
    world = make_world()
    world.add("a", options=TWO)
    world.opener.gates["a"] = OnlyOne()
    async with world.router.lease("a"):
        await settled()

    assert await world.router.unload("a")

    assert (world.opener.running(), world.opener.n_cancelled) == ([], 1)


async def test_memory_is_counted_for_all_of_them(world):
    (model,) = world.router.fleet.entries()

    assert model.need.weights_bytes == 14


async def test_what_needs_no_process_has_one_engine(make_world, settled):
    world = make_world()
    world.add("r", format="remote", options=TWO)
    async with world.router.lease("r"):
        await settled()

    assert len(world.opener.asked) == 1


async def test_the_server_closes_with_all_of_them(world):
    await world.router.close()

    assert world.opener.running() == []
