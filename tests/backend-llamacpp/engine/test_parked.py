"""What is kept of prompts, parked outside the cache and brought back, with a fake cache and no model."""

from aiadmin_core.cache.parking import Folder, Parking
from aiadmin_llamacpp.engine.parked import WORTH_PARKING
from aiadmin_llamacpp.engine.scheduler import ROOM


def run(world):
    while world.scheduler.has_work:
        world.step()
    world.scheduler.rest()


def test_what_is_cached_leaves_while_somebody_runs_and_comes_back_when_it_is_asked_for(world, sequence):
    """Idle cells would cost every step something."""
    world = world(n_cells=2000, n_batch=64, parking=Parking(run=16, max_bytes=10**6))
    long = list(range(100))
    world.scheduler.add(sequence(long, max_tokens=1))
    run(world)
    assert world.kv.n_used == 100, "nobody pays for it"

    world.scheduler.add(sequence([500, 501], max_tokens=30))
    for _ in range(20):
        world.step()
    assert world.kv.n_used < 40

    again = sequence([*long, 7, 8], max_tokens=1)
    world.scheduler.add(again)
    n_steps = 0
    while not again.job.n_cached:
        world.step()
        n_steps += 1
    assert again.job.n_cached == 100
    run(world)


def test_what_leaves_from_the_top_downwards_leaves_no_holes(world, sequence):
    """Whoever comes next begins like all that is cached, and is not read behind the cells of the others."""
    world = world(n_cells=2000, n_batch=64, parking=Parking(run=16, max_bytes=10**6))
    system = list(range(50))
    for number in range(6):
        world.scheduler.add(sequence([*system, *range(1000 * number + 100, 1000 * number + 140)], max_tokens=1))
    run(world)
    assert world.kv.n_used == 50 + 6 * 40

    world.scheduler.add(sequence([*system, 7, 8, 9], max_tokens=1))
    world.step()

    assert world.kv.cells.top == world.kv.n_used == 53


def test_what_costs_more_to_copy_than_to_compute_stays_until_its_room_is_wanted(world, sequence):
    """As on a graphics processor."""
    parking = Parking(run=16, max_bytes=10**6)
    world = world(n_cells=256, n_batch=64, parking=parking, copies_pay=False)
    world.scheduler.add(sequence(range(100), max_tokens=1))
    run(world)
    world.scheduler.add(sequence([500, 501], max_tokens=30))
    run(world)
    assert world.kv.n_used > 100
    again = sequence([*range(100), 7, 8], max_tokens=1)
    world.scheduler.add(again)
    run(world)
    assert again.job.n_cached == 100

    world.scheduler.add(sequence(range(1000, 1200), max_tokens=20))
    run(world)
    assert world.kv.n_used <= 256
    assert parking.n_bytes == 0


def test_what_parts_in_mid_run_brings_back_what_both_have(world, sequence):
    world = world(n_cells=500, n_batch=64, parking=Parking(run=16, max_bytes=10**6))
    world.scheduler.add(sequence(range(100), max_tokens=1))
    run(world)
    world.kv.evict_all()

    other = sequence([*range(70), *range(900, 910)], max_tokens=1)
    world.scheduler.add(other)
    run(world)

    assert other.job.n_cached == 70


def test_short_prefixes_are_not_worth_a_copy(world, sequence):
    parking = Parking(run=16, max_bytes=10**6)
    world = world(n_cells=500, n_batch=64, parking=parking)
    world.scheduler.add(sequence(range(WORTH_PARKING - 1), max_tokens=1))
    run(world)

    assert parking.n_bytes == 0


def test_who_has_to_wait_in_mid_answer_is_brought_back_too(world, sequence):
    world = world(n_cells=2 * (ROOM + 6), n_parallel=4, n_batch=64, parking=Parking(run=16, max_bytes=10**6))
    world.scheduler.add(sequence([1, 2], max_tokens=ROOM + 36))
    world.scheduler.add(sequence([3, 4], max_tokens=ROOM + 36))
    n_decoded = 0
    while world.scheduler.has_work:
        n_decoded += sum(piece.n for piece in world.step().pieces)

    assert world.finished == [(1, 0), (2, 0)]
    assert n_decoded < 2 * (ROOM + 38) + 10


def test_what_was_computed_is_found_by_the_next_engine(world, sequence, tmp_path):
    def open_world():
        parking = Parking(run=16, max_bytes=10**6, folder=Folder(tmp_path / "model", 10**6))
        return world(n_cells=500, n_batch=64, parking=parking)

    first = open_world()
    first.scheduler.add(sequence(range(100), max_tokens=20))
    first.step()
    first.step()
    first.scheduler.close(within_s=5)

    second, again = open_world(), sequence(range(100), max_tokens=1)
    second.scheduler.add(again)
    run(second)

    assert again.job.n_cached == 99
