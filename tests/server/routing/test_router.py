"""The router over a fake opener and a fake clock."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace

import pytest

from aiadmin_core.errors import ModelCrashing, ModelLoadFailed, ModelNotFound, NoBackend, Overloaded, StoreError
from aiadmin_core.memory import Memory
from aiadmin_core.specs.model import EngineOptions, EngineStats, ModelFile
from aiadmin_server.durations import FOREVER
from aiadmin_server.routing.entry import Replica


async def use(world, name, **keywords):
    async with world.router.lease(name, **keywords) as lease:
        return lease


def names(world):
    return [model.name for model in world.router.loaded()]


async def test_a_model_is_loaded_on_first_use_and_stays(make_world):
    world = make_world()
    first = await use(world, "a")
    second = await use(world, "a")
    assert first.engine is second.engine
    assert world.opener.asked == [("fakes", "fast", "a", EngineOptions())]
    (model,) = world.router.loaded()
    assert (model.name, model.backend, model.state, model.size_bytes) == ("a", "fast", "ready", 5)
    assert model.notes == ("a note", "a fact")
    assert model.expires_at == world.clock.unix_time() + 300


async def test_what_is_kept_of_prompts_is_told(make_world, monkeypatch):
    world = make_world()
    lease = await use(world, "a")
    monkeypatch.setattr(lease.engine, "stats", lambda: EngineStats(prefix_bytes=52_000_000), raising=False)

    (model,) = world.router.loaded()

    assert model.notes == ("a note", "a fact", "52 MB of it for prompts that begin alike")


async def test_first_requests_at_once_wait_for_one_load(make_world, settled):
    world = make_world()
    gate = world.opener.gates["a"] = asyncio.Event()
    requests = [asyncio.create_task(use(world, "a")) for _ in range(5)]
    await settled()
    (model,) = world.router.loaded()
    assert (model.state, model.n_active) == ("starting", 5)
    gate.set()
    leases = await asyncio.gather(*requests)
    assert len({id(lease.engine) for lease in leases}) == 1
    assert len(world.opener.asked) == 1


async def test_who_leaves_while_waiting_does_not_stop_the_load(make_world, settled):
    world = make_world()
    gate = world.opener.gates["a"] = asyncio.Event()
    leaves, stays = (asyncio.create_task(use(world, "a")) for _ in range(2))
    await settled()
    leaves.cancel()
    await settled()
    gate.set()
    assert (await stays).resolved == "a"
    assert leaves.cancelled()
    assert world.opener.n_cancelled == 0


async def test_a_load_that_everybody_left_still_counts_as_idle(make_world, settled):
    world = make_world(keep_alive_s=0)
    gate = world.opener.gates["a"] = asyncio.Event()
    leaves = asyncio.create_task(use(world, "a"))
    await settled()
    leaves.cancel()
    gate.set()
    await settled()
    assert names(world) == []
    assert world.opener.running() == []


async def test_a_failed_load_reaches_all_who_wait_and_is_tried_again_after_a_moment(make_world, settled):
    world = make_world()
    gate = world.opener.gates["a"] = asyncio.Event()
    world.opener.errors["a"] = ModelLoadFailed("no")
    requests = [asyncio.create_task(use(world, "a")) for _ in range(3)]
    await settled()
    gate.set()
    assert [type(error) for error in await asyncio.gather(*requests, return_exceptions=True)] == [ModelLoadFailed] * 3
    with pytest.raises(ModelLoadFailed):
        await use(world, "a")
    assert len(world.opener.asked) == 1, "within the backoff nothing is started"

    world.clock.advance(1)
    with pytest.raises(ModelLoadFailed):
        await use(world, "a")
    assert len(world.opener.asked) == 2
    world.clock.advance(1)
    with pytest.raises(ModelLoadFailed):
        await use(world, "a")
    assert len(world.opener.asked) == 2, "the second backoff is longer"

    del world.opener.errors["a"]
    world.clock.advance(1)
    assert (await use(world, "a")).resolved == "a"


async def test_a_bug_in_the_opener_is_a_failed_load(make_world):
    world = make_world()
    world.opener.errors["a"] = ZeroDivisionError("oops")
    with pytest.raises(ModelLoadFailed, match="ZeroDivisionError"):
        await use(world, "a")


async def test_an_idle_model_is_unloaded_when_its_time_is_over(make_world, settled):
    world = make_world(keep_alive_s=60)
    await use(world, "a")
    world.clock.advance(59)
    await use(world, "a")
    world.clock.advance(59)
    await settled()
    assert world.opener.running() == ["a"], "each use starts the time anew"
    world.clock.advance(1)
    await settled()
    assert world.opener.running() == []
    assert names(world) == []


async def test_the_time_starts_when_the_last_request_ends(make_world, settled):
    world = make_world(keep_alive_s=60)
    async with world.router.lease("a"):
        assert world.router.loaded()[0].expires_at is None
        world.clock.advance(1000)
        async with world.router.lease("a"):
            pass
        world.clock.advance(1000)
        await settled()
        assert world.opener.running() == ["a"]
    world.clock.advance(60)
    await settled()
    assert world.opener.running() == []


async def test_a_requests_keep_alive_holds_until_another_sets_it(make_world, settled):
    world = make_world(keep_alive_s=60)
    await use(world, "a", keep_alive_s=FOREVER)
    await use(world, "a")
    world.clock.advance(1e9)
    await settled()
    assert world.router.loaded()[0].expires_at is None
    await use(world, "a", keep_alive_s=0)
    await settled()
    assert world.opener.running() == []


async def test_a_models_own_keep_alive_counts_before_the_settings(make_world):
    world = make_world(keep_alive_s=60)
    world.add("own", keep_alive_s=5.0)
    await use(world, "own")
    assert world.router.loaded()[0].expires_at == world.clock.unix_time() + 5


async def test_an_engine_that_outgrew_the_memory_finishes_its_requests_beside_its_successor(make_world, settled):
    world = make_world()
    async with world.router.lease("a") as held:
        world.opener.opened[0].outgrown.set_result("its memory has grown")
        await settled()
        assert (await use(world, "a")).engine is not held.engine
        assert not world.opener.opened[0].ended.done()
        old, fresh = world.router.loaded()
        assert (old.state, old.reason) == ("stopping", "its memory has grown")
        assert fresh.state == "ready"
    await settled()
    assert world.opener.opened[0].ended.done()


async def test_an_idle_engine_that_outgrew_the_memory_goes_at_once(make_world, settled):
    """Nobody may ask for it for hours, and others want its memory."""
    world = make_world(keep_alive_s=3600)
    await use(world, "a")
    world.opener.opened[0].outgrown.set_result("its memory has grown")
    await settled()
    assert world.opener.running() == []
    assert world.router.departed()[0].reason.text == "its memory has grown"


async def test_keep_alive_zero_waits_for_the_requests_that_run(make_world, settled):
    world = make_world()
    async with world.router.lease("a"):
        await use(world, "a", keep_alive_s=0)
        await settled()
        assert world.opener.running() == ["a"]
    await settled()
    assert world.opener.running() == []


async def test_names_of_the_same_weights_share_an_engine_unless_it_is_opened_differently(make_world):
    world = make_world()
    world.add("alias", digest="sha256:a")
    world.add("larger", digest="sha256:a", options=EngineOptions(n_ctx=4096))
    world.add("elsewhere", digest="sha256:a", backend="slow")
    engines = [(await use(world, name)).engine for name in ("a", "alias", "larger", "elsewhere")]
    assert engines[0] is engines[1]
    assert len({id(engine) for engine in engines}) == 3


async def test_a_full_house_unloads_an_idle_model(make_world, settled):
    world = make_world(max_loaded=2)
    await use(world, "a")
    world.clock.advance(1)
    await use(world, "b")
    async with world.router.lease("a"):
        await use(world, "c")
    assert world.opener.running() == ["a", "c"]


async def test_a_full_house_of_busy_models_waits_for_the_first_to_finish(make_world, settled):
    world = make_world(max_loaded=2)
    async with AsyncExitStack() as others:
        await others.enter_async_context(world.router.lease("b"))
        first = AsyncExitStack()
        await first.enter_async_context(world.router.lease("a"))
        waiting = asyncio.create_task(use(world, "c"))
        await settled()
        assert not waiting.done()
        await use(world, "b")  # loaded models go on answering
        await first.aclose()
        await waiting
        assert world.opener.running() == ["b", "c"]


async def test_a_model_that_is_never_idle_makes_room_in_the_end(make_world, settled):
    world = make_world(max_loaded=1)
    async with world.router.lease("a"):
        waiting = asyncio.create_task(use(world, "b"))
        await settled()
        world.clock.advance(30)
        await settled()
        later = asyncio.create_task(use(world, "a"))
        await settled()
        assert not later.done(), "no new requests for the one that has to go"
    await waiting
    await later
    assert [asked[2] for asked in world.opener.asked] == ["a", "b", "a"]


async def test_nothing_is_unloaded_for_who_has_left(make_world, settled):
    world = make_world(max_loaded=1)
    async with world.router.lease("a"):
        waiting = asyncio.create_task(use(world, "b"))
        await settled()
        waiting.cancel()
        await settled()
        assert names(world) == ["a"]
    await settled()
    assert world.opener.running() == ["a"]
    assert (await use(world, "b")).resolved == "b"


async def test_a_full_queue_refuses(make_world, settled):
    world = make_world(max_queue=2)
    gate = world.opener.gates["a"] = asyncio.Event()
    waiting = [asyncio.create_task(use(world, "a")) for _ in range(2)]
    await settled()
    with pytest.raises(Overloaded, match="2 requests are waiting"):
        await use(world, "a")
    gate.set()
    await asyncio.gather(*waiting)
    await use(world, "a")


async def test_unload_waits_for_running_requests_and_later_ones_get_a_fresh_engine(make_world, settled):
    world = make_world()
    async with world.router.lease("a") as held:
        unloading = asyncio.create_task(world.router.unload("a"))
        await settled()
        assert not unloading.done()
        assert world.router.loaded()[0].state == "stopping"
        assert (await use(world, "a")).engine is not held.engine
    assert await unloading
    assert world.opener.running() == ["a"]
    assert not await world.router.unload("b")
    with pytest.raises(ModelNotFound):
        await use(world, "nonesuch")


async def test_unload_by_a_name_that_was_removed_meanwhile(make_world):
    world = make_world()
    await use(world, "a")
    del world.targets["a"]
    assert await world.router.unload("a")
    assert world.opener.running() == []


async def test_unload_ends_a_load(make_world, settled):
    world = make_world()
    gate = world.opener.gates["a"] = asyncio.Event()
    waiting = asyncio.create_task(use(world, "a"))
    await settled()
    assert await world.router.unload("a")
    with pytest.raises(ModelLoadFailed, match="unloaded while it was loading"):
        await waiting
    assert world.opener.n_cancelled == 1
    gate.set()
    assert (await use(world, "a")).resolved == "a"


async def test_after_a_death_the_next_request_starts_it_afresh(make_world, settled):
    world = make_world()
    async with world.router.lease("a"):
        world.opener.opened[0].ended.set_result(-11)
        await settled()
        assert names(world) == []
    assert (await use(world, "a")).engine is world.opener.opened[1].engine


async def test_a_runner_that_is_about_to_end_gets_no_more_requests(make_world, settled):
    world = make_world()
    await use(world, "a")
    (dying,) = world.opener.opened
    dying.is_usable = False
    waiting = asyncio.create_task(use(world, "a"))
    await settled()
    assert not waiting.done()
    dying.ended.set_result(-9)
    assert (await waiting).engine is world.opener.opened[1].engine


async def test_the_least_busy_replica_is_leased(make_world):
    world = make_world()
    await use(world, "a")
    (entry,) = world.router.fleet.entries()
    other = await world.opener.open("fakes", SimpleNamespace(name="fast"), entry.target.spec, EngineOptions())
    entry.replicas.append(Replica(other))
    async with world.router.lease("a") as first, world.router.lease("a") as second:
        assert first.engine is not second.engine
        assert world.router.loaded()[0].n_active == 2


async def test_health_names_who_is_in_trouble(make_world):
    world = make_world()
    await use(world, "a")
    assert world.router.health() == []
    world.opener.opened[0].complaint = "it has not been heard of for 20 s"
    assert world.router.health() == ["a (fast): it has not been heard of for 20 s"]


async def test_close_ends_loaded_models_and_loads_alike(make_world, settled):
    world = make_world()
    world.opener.gates["b"] = asyncio.Event()
    async with world.router.lease("a"):
        waiting = asyncio.create_task(use(world, "b"))
        await settled()
        await world.router.close()
        assert world.opener.running() == []
        with pytest.raises(ModelLoadFailed):
            await waiting
        with pytest.raises(Overloaded, match="shutting down"):
            await use(world, "c")
    assert names(world) == []


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"backend": "mlx"}, "The backend 'mlx' is not installed", "pip install aiadmin-backend-mlx"),
        ({"backend": "fast", "format": "safetensors"}, "'fast' cannot serve", "Leave the backend out"),
        ({"format": "other"}, "No installed backend", "Install a backend"),
    ],
)
async def test_a_model_nobody_can_serve_says_what_to_install(make_world, changes, message, hint):
    world = make_world()
    world.add("odd", **changes)
    with pytest.raises(NoBackend, match=message) as caught:
        await use(world, "odd")
    assert hint in caught.value.hint


async def test_a_model_that_needs_no_process_takes_no_place(make_world):
    """A remote name neither waits for a place nor pushes a local model out, and is not unloaded for one."""

    world = make_world(max_loaded=1)
    world.add("far", format="remote")
    world.add("further", format="remote")
    async with world.router.lease("a"):
        await use(world, "far")
        await use(world, "further")
    assert world.opener.running() == ["a", "far", "further"]
    await use(world, "b")
    assert world.opener.running() == ["far", "further", "b"]


async def test_an_engine_whose_counters_fail_is_shown_and_served_all_the_same(make_world):
    world = make_world()
    await use(world, "a")
    world.opener.opened[0].engine.stats = lambda: 1 / 0
    assert [model.stats for model in world.router.loaded()] == [EngineStats()]
    await use(world, "a")


@pytest.mark.parametrize("max_loaded", [1, 3])
async def test_a_request_that_never_ends_holds_up_neither_its_model_nor_others(make_world, settled, max_loaded):
    """A client that was suspended, with a full socket: drained for five minutes, then cut off."""

    world = make_world(max_loaded=max_loaded, max_queue=4)
    async with world.router.lease("a"):
        unloading = asyncio.create_task(world.router.unload("a"))
        await settled()
        waiting = [asyncio.create_task(use(world, "a")) for _ in range(5)]
        other = asyncio.create_task(use(world, "b"))
        await settled()
        refused = [task for task in waiting if task.done() and task.exception()]
        assert [type(task.exception()) for task in refused] == [Overloaded], "who waits is counted"
        served = [task for task in waiting if task not in refused]
        if max_loaded == 3:
            await asyncio.gather(*served, other)
        assert not unloading.done()
        world.clock.advance(300)
        assert await unloading
        await asyncio.gather(*served, other)
    reasons = [gone.reason.text for gone in world.router.departed()]
    assert "told to, as 'a'; 1 request not answered within 5 min" in reasons


async def test_the_queue_counts_requests_to_the_engine_that_nothing_has_answered(make_world):
    """One completion request may hold thousands of prompts; heartbeats say nothing of the last two seconds."""

    world = make_world(max_queue=4)
    async with world.router.lease("a", n_requests=2000) as many:
        with pytest.raises(Overloaded, match="2000 requests are waiting"):
            await use(world, "a")
        for _ in range(1997):
            many.begun()
        async with world.router.lease("a") as one:
            with pytest.raises(Overloaded, match="4 requests are waiting"):
                await use(world, "a")
            one.begun()
            await use(world, "a")
    await use(world, "a")


async def test_a_lease_says_how_long_it_waited_for_the_load(make_world, settled):
    world = make_world()
    gate = world.opener.gates["a"] = asyncio.Event()
    waiting = asyncio.create_task(use(world, "a"))
    await settled()
    world.clock.advance(7)
    gate.set()
    assert (await waiting).load_s == 7
    assert (await use(world, "a")).load_s == 0


async def test_load_options_make_the_same_weights_another_model(make_world):
    world = make_world()
    world.add("a", options=EngineOptions(n_ctx=2048, n_parallel=3))
    plain = await use(world, "a", options=EngineOptions())
    longer = await use(world, "a", options=EngineOptions(n_ctx=8192))
    again = await use(world, "a", options=EngineOptions(n_ctx=8192))
    same = await use(world, "a", options=EngineOptions(n_ctx=2048))
    assert longer.engine is again.engine is not plain.engine
    assert same.engine is plain.engine
    assert [asked[3] for asked in world.opener.asked] == [
        EngineOptions(n_ctx=2048, n_parallel=3),
        EngineOptions(n_ctx=8192, n_parallel=3),
    ]
    assert await world.router.unload("a")
    assert world.opener.running() == []


async def test_a_load_option_of_0_is_one(make_world):
    """No layers on the GPU is not the backend's choice."""
    world = make_world()
    world.add("a", options=EngineOptions(n_gpu_layers=20))
    await use(world, "a", options=EngineOptions(n_gpu_layers=0))
    assert [asked[3] for asked in world.opener.asked] == [EngineOptions(n_gpu_layers=0)]


def test_loading_and_unloading_are_told_in_one_line_each(make_world, settled, caplog):
    caplog.set_level("INFO", logger="aiadmin_server.routing")

    async def main():
        world = make_world(max_loaded=1)
        world.add("a", parameters={"weights": 5_000_000})
        gate = world.opener.gates["a"] = asyncio.Event()
        waiting = asyncio.create_task(use(world, "a", asked_by="alice"))
        await settled()
        world.clock.advance(2)
        gate.set()
        await waiting
        world.opener.opened[0].memory_bytes = 400_000_000
        (model,) = world.router.loaded()
        assert model.reason == "asked for as 'a' by alice, loaded in 2 s, 5 B"
        assert model.size_bytes == 400_000_000, "what it takes, not what its file has"
        await use(world, "b", asked_by="bob")
        (gone,) = world.router.departed()
        assert (gone.name, gone.reason.why) == ("a", "room")

    asyncio.run(main())
    told = [record.message for record in caplog.records]
    assert told == [
        "Loaded a (fast): asked for as 'a' by alice, loaded in 2 s, 5 B",
        "Unloaded a (fast) after 1 request: to make room for b, asked for as 'b' by bob",
        "Loaded b (fast): asked for as 'b' by bob, loaded in 0 s, 5 B",
    ]


async def test_memory_makes_room_as_places_do(make_world):
    world = make_world(max_loaded=10)
    world.memory = Memory(total=1000, available=1000)
    for name in "abcd":
        world.add(name, parameters={"weights": 200})
    for name in "abc":
        await use(world, name)
        world.clock.advance(1)
    async with world.router.lease("a"):
        await use(world, "d")
    assert world.opener.running() == ["a", "c", "d"]
    assert world.router.departed()[0].reason.text == "to make room for d, asked for as 'd' (200 B of memory short)"


async def test_weights_that_exceed_the_machine_are_refused_with_the_numbers(make_world):
    world = make_world()
    world.memory = Memory(total=2 * 10**9, available=2 * 10**9)
    world.add("large", parameters={"weights": 5 * 10**9, "certain": True})
    world.add("guess", parameters={"weights": 5 * 10**9})
    with pytest.raises(ModelLoadFailed, match=r"weights alone take 5.0 GB, and models have 2.0 GB") as caught:
        await use(world, "large")
    assert "up to about 1.6 GB fit here" in caught.value.hint
    await use(world, "guess")


async def test_memory_never_costs_a_model_at_work(make_world, settled):
    world = make_world()
    world.memory = Memory(total=1000, available=1000)
    world.add("a", parameters={"weights": 700})
    world.add("b", parameters={"weights": 300}, options=EngineOptions(n_ctx=200))
    async with world.router.lease("a"):
        waiting = asyncio.create_task(use(world, "b"))
        await settled()
        assert not waiting.done()
        world.clock.advance(30)
        with pytest.raises(Overloaded, match=r"needs 500 B of memory .* 200 B are free.*: a \(800 B\)"):
            await waiting
        assert world.opener.running() == ["a"]
    await use(world, "b")
    assert world.opener.running() == ["b"]


async def test_a_model_that_dies_again_and_again_is_left_alone_for_longer_and_longer(make_world, settled):
    world = make_world()

    async def die():
        async with world.router.lease("a"):
            world.opener.opened[-1].ended.set_result(-11)
            await settled()

    for _ in range(3):
        await die()  # the first two cost nobody anything
    with pytest.raises(ModelCrashing, match="has died 3 times within 2 min") as caught:
        await use(world, "a")
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
    assert (await use(world, "b")).resolved == "b", "others go on"
    world.clock.advance(1)
    await die()
    world.clock.advance(1)
    with pytest.raises(ModelCrashing, match="died 4 times"):
        await use(world, "a")
    world.clock.advance(1)
    await use(world, "a")
    world.clock.advance(120)
    await die()
    await use(world, "a")


async def test_an_aliass_keep_alive_counts_also_where_another_name_loaded_the_model(make_world, settled):
    world = make_world(keep_alive_s=60)
    world.add("pinned", digest="sha256:a", keep_alive_s=FOREVER)
    await use(world, "a")
    await use(world, "pinned")
    await use(world, "a")
    world.clock.advance(1e6)
    await settled()
    assert world.opener.running() == ["a"]
    await use(world, "a", keep_alive_s=5)
    world.clock.advance(5)
    await settled()
    assert world.opener.running() == []


async def test_all_names_are_listed_and_one_that_was_removed_labels_nothing(make_world, settled):
    world = make_world()
    world.add("first", digest="sha256:a")
    await use(world, "first")
    await use(world, "a")
    assert world.router.loaded()[0].names == ("first", "a")
    del world.targets["first"]
    assert not await world.router.unload("first"), "the other name still stands for it"
    (model,) = world.router.loaded()
    assert (model.name, model.names) == ("a", ("a",))
    del world.targets["a"]
    await world.router.refresh()
    await settled()
    assert world.opener.running() == []
    assert world.router.departed()[0].reason.why == "removed"


async def test_a_model_whose_file_changed_can_be_unloaded(make_world):
    world = make_world()
    await use(world, "a")

    def changed(name):
        raise StoreError("its file has changed")

    world.router._resolve = world.router._find = changed
    assert await world.router.unload("A:latest")
    assert world.opener.running() == []
    with pytest.raises(StoreError):
        await world.router.unload("b")


async def test_names_of_the_same_weights_in_another_file_do_not_share_an_engine(make_world):
    """What lies outside the store may be truncated under the engine that maps it: that is nobody else's fault."""

    world = make_world()
    for name, path in (("stored", "/blobs/sha256-1"), ("copied", "/blobs/sha256-1"), ("linked", "/home/me/x.gguf")):
        file = ModelFile(role="model", path=path, digest="sha256:1")
        world.add(name, digest="sha256:1", files=(file,))
    engines = [(await use(world, name)).engine for name in ("stored", "copied", "linked")]
    assert engines[0] is engines[1] is not engines[2]
