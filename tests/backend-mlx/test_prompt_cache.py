"""Kept prefixes, with mlx-lm's own caches and no model."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import KVCache, RotatingKVCache

from aiadmin_core.cache.parking import Folder
from aiadmin_mlx.engine import prompt_cache
from aiadmin_mlx.engine.prompt_cache import PromptCache, common_prefix

ENTRY_BYTES = 2 * 2 * 256 * 4 * 4  # two layers, keys and values, 256 cells of 4 floats


def caches(tokens, make=KVCache):
    """Two layers' caches whose keys are the tokens themselves."""
    layers = [make(), make()]
    values = mx.array(tokens, dtype=mx.float32)[None, None, :, None] * mx.ones((1, 1, 1, 4))
    for layer in layers:
        layer.update_and_fetch(values, values)
    return layers


def content(found):
    return [int(key) for key in found[1].keys_and_values()[0][0, 0, :, 0].tolist()]


@pytest.fixture
def kept():
    return PromptCache(10 * ENTRY_BYTES)


def test_the_longest_prefix_is_found_and_cut_to_what_is_shared(kept):
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))
    kept.keep("", [1, 2, 3, 4, 5, 6], caches([1, 2, 3, 4, 5, 6]))
    kept.keep("", [9, 9], caches([9, 9]))

    n, found = kept.find("", [1, 2, 3, 4, 7, 8])

    assert n == 4
    assert content(found) == [1, 2, 3, 4]


def test_one_token_is_always_left_to_decode(kept):
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))

    assert kept.find("", [1, 2, 3])[0] == 2
    assert kept.find("", [1]) == (0, None)


def test_salts_do_not_share(kept):
    kept.keep("a", [1, 2, 3], caches([1, 2, 3]))

    assert kept.find("b", [1, 2, 3, 4]) == (0, None)
    assert kept.find("a", [1, 2, 3, 4])[0] == 3


def test_what_is_handed_out_is_a_copy(kept):
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))
    _, first = kept.find("", [1, 2, 3, 4])
    for layer in first:
        layer.update_and_fetch(mx.full((1, 1, 1, 4), 77.0), mx.full((1, 1, 1, 4), 77.0))

    _, second = kept.find("", [1, 2, 3, 5])

    assert content(first) == [1, 2, 3, 77]
    assert content(second) == [1, 2, 3]


def test_an_entry_that_is_the_beginning_of_another_is_dropped(kept):
    kept.keep("", [1, 2], caches([1, 2]))
    kept.keep("", [1, 2, 3], caches([1, 2, 3]))

    assert (kept.n_tokens, kept.n_bytes) == (3, ENTRY_BYTES)


def test_the_least_recently_used_goes_first():
    kept = PromptCache(2 * ENTRY_BYTES)
    kept.keep("", [1, 1], caches([1, 1]))
    kept.keep("", [2, 2], caches([2, 2]))
    kept.find("", [1, 1, 1])

    kept.keep("", [3, 3], caches([3, 3]))

    assert [kept.find("", [token, token, 0])[0] for token in (1, 2, 3)] == [2, 0, 2]
    assert kept.n_bytes == 2 * ENTRY_BYTES


def test_what_is_larger_than_the_budget_is_not_kept():
    kept = PromptCache(ENTRY_BYTES - 1)
    kept.keep("", [1, 1], caches([1, 1]))

    assert kept.n_bytes == 0


def test_a_cache_that_cannot_be_cut_serves_only_as_a_whole(kept):
    def rotating():
        return RotatingKVCache(max_size=4)

    kept.keep("", [1, 2, 3, 4, 5], caches([1, 2, 3, 4, 5], make=rotating))

    assert kept.find("", [1, 2, 3, 9]) == (0, None)
    assert kept.find("", [1, 2, 3, 4, 5, 6])[0] == 5


LONG = [*range(1, 41)]
FILES = "*.parcel"


@pytest.fixture
def reopen(tmp_path):
    """Opens what is kept in one folder, as one engine after the other does."""

    def reopen(*, max_bytes=10 * ENTRY_BYTES, max_disk=10**6):
        return PromptCache(max_bytes, Folder(tmp_path / "model", max_disk, model="sha256:0"))

    return reopen


def written(reopen, *texts, salt="", make=KVCache, **bounds):
    kept = reopen(**bounds)
    for text in texts:
        kept.keep(salt, text, caches(text, make=make))
    kept.close(within_s=10)


def test_the_next_engine_finds_it_in_a_file_and_cuts_it(reopen):
    written(reopen, LONG)
    kept = reopen()
    assert kept.n_bytes == 0, "nothing is read before it is asked for"

    n, found = kept.find("", [*LONG[:30], 99, 98])

    assert (n, content(found)) == (30, LONG[:30])
    assert kept.n_bytes == ENTRY_BYTES
    assert kept.find("other", LONG) == (0, None)


def test_what_goes_on_from_a_file_takes_its_place(reopen, tmp_path):
    written(reopen, LONG)
    kept = reopen()
    kept.keep("", [*LONG, 41], caches([*LONG, 41]))
    kept.close(within_s=10)

    assert len([*tmp_path.rglob(FILES)]) == 1
    assert reopen().find("", [*LONG, 41, 42])[0] == 41


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: data[:-40] + b"x" * 40, lambda _: b"x" * 500])
def test_a_damaged_file_is_removed_and_the_next_best_serves(reopen, tmp_path, damage):
    written(reopen, LONG, [*LONG[:35], 7, 7, 7])
    kept = reopen()
    longest = max(tmp_path.rglob(FILES), key=lambda path: path.stat().st_size)
    longest.write_bytes(damage(longest.read_bytes()))

    n, found = kept.find("", [*LONG, 41])

    assert (n, content(found)) == (35, LONG[:35])
    assert not longest.exists()


def test_a_file_that_cannot_be_cut_serves_as_a_whole(reopen):
    written(reopen, LONG, make=lambda: RotatingKVCache(max_size=4))
    kept = reopen()

    assert kept.find("", [*LONG[:30], 99]) == (0, None)
    n, found = kept.find("", [*LONG, 41])
    assert (n, found[0].offset, found[0].max_size) == (40, 40, 4)


def test_what_leaves_memory_is_read_again(reopen):
    written(reopen, LONG, [*range(100, 140)])
    kept = reopen(max_bytes=ENTRY_BYTES)

    for first in (1, 100, 1):
        assert kept.find("", [*range(first, first + 40), 0])[0] == 40
        assert kept.n_bytes == ENTRY_BYTES


def test_a_full_disk_or_a_small_budget_costs_nothing_but_the_file(reopen, tmp_path):
    written(reopen, LONG, max_disk=100)

    assert not [*tmp_path.rglob(FILES)]
    assert reopen().find("", LONG) == (0, None)


def test_what_was_in_doubt_is_read_from_its_file(reopen):
    written(reopen, LONG)
    kept = reopen()
    kept.find("", LONG)
    kept.keep("", [5] * 40, caches([5] * 40))
    kept.clear()

    assert kept.n_bytes == 0
    assert kept.find("", [5] * 41) == (0, None)
    assert kept.find("", LONG)[0] == 39


def rested(kept, *texts, make=KVCache):
    """Keep these, and rest until nothing is left to do."""
    for text in texts:
        kept.keep("", text, caches(text, make=make))
    n_pieces = 0
    while kept.rest():
        n_pieces += 1
    return n_pieces


def test_an_engine_that_is_killed_has_written_what_it_kept_while_it_rested(reopen):
    rested(reopen(), LONG)  # and never closed

    n, found = reopen().find("", [*LONG, 41])

    assert (n, content(found)) == (40, LONG)


def test_one_is_looked_at_each_time_and_none_twice(reopen):
    kept = reopen()

    assert rested(kept, LONG, [*range(100, 140)], [1, 2]) == 3
    assert rested(kept) == 0


def test_a_file_stays_until_what_goes_on_from_it_has_one(reopen, tmp_path):
    kept = reopen()
    rested(kept, LONG)
    longer = [*range(1, 61)]
    kept.keep("", longer, caches(longer))
    assert reopen().find("", [*longer, 0])[0] == 40, "whoever is killed now has the turn before"

    rested(kept)

    assert reopen().find("", [*longer, 0])[0] == 60
    assert len([*tmp_path.rglob(FILES)]) == 1
    assert kept.n_tokens == 60


def test_a_turn_that_adds_little_waits_for_the_end(reopen):
    kept = reopen()
    longer = [*LONG, 41]
    rested(kept, LONG, longer)
    branch = [*LONG[:35], 7, 7, 7]
    rested(kept, branch)
    assert reopen().find("", [*longer, 0])[0] == 41, "the last used, of those that were there at the first rest"
    assert reopen().find("", [*branch, 0])[0] == 35

    kept.close(within_s=10)

    assert reopen().find("", [*branch, 0])[0] == 38


def test_the_same_tokens_again_keep_their_file(reopen, tmp_path):
    kept = reopen()
    rested(kept, LONG)
    (file,) = tmp_path.rglob(FILES)
    before = file.stat()
    rested(kept, LONG)
    kept.close(within_s=10)

    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_large_waits_for_the_end(reopen, tmp_path, monkeypatch):
    monkeypatch.setattr(prompt_cache, "REST_BYTES", ENTRY_BYTES - 1)
    kept = reopen()
    rested(kept, LONG)
    assert not [*tmp_path.rglob(FILES)]

    kept.close(within_s=10)

    assert reopen().find("", [*LONG, 41])[0] == 40


def test_those_that_cannot_be_cut_each_have_a_file(reopen):
    longer = [*LONG, 41]
    rested(reopen(), LONG, longer, make=lambda: RotatingKVCache(max_size=4))

    assert reopen().find("", [*LONG, 99])[0] == 40
    assert reopen().find("", [*longer, 99])[0] == 41


def test_a_disk_that_takes_nothing_is_asked_once(reopen, tmp_path):
    kept = reopen(max_disk=100)

    assert rested(kept, LONG) == 1
    assert rested(kept) == 0
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".parcel", ".part")]
    assert kept.find("", [*LONG, 41])[0] == 40, "it is in memory all the same"


def test_of_two_that_serve_alike_the_one_in_memory_is_taken(reopen, tmp_path):
    kept = reopen()
    rested(kept, LONG)
    longer = [*LONG, 41]
    kept.keep("", longer, caches(longer))
    (file,) = tmp_path.rglob(FILES)
    file.unlink()

    assert kept.find("", [*LONG[:30], 99])[0] == 30
    assert kept.n_bytes == ENTRY_BYTES


@pytest.mark.parametrize(
    ("left", "right", "n"),
    [((), (), 0), ((1,), (2,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2, 4, 5), 2), ((1,), (1, 5), 1)],
)
def test_common_prefixes(left, right, n):
    assert common_prefix(left, right) == n
