"""Beginnings of prompts, found again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.cache.budget import MOST_USES, next_to_go, worth, worth_reading, worth_saving
from aiadmin_core.cache.prefix_tree import PrefixTree


def tokens(*values):
    return np.array(values, np.int32)


def put(tree, text, *, key=""):
    """All runs of `text` that are missing; gives what they replaced."""
    replaced = []
    while (start := tree.missing(key, text)) < len(text):
        replaced += tree.add(key, text, start, f"{start}")[1]
    return replaced


def n_matched(tree, text, *, key=""):
    return sum(n for _, n in tree.match(key, text))


def test_texts_that_agree_share_their_nodes():
    tree = PrefixTree(run=2)
    put(tree, tokens(1, 2, 3, 4, 5, 6))
    put(tree, tokens(1, 2, 3, 4, 7, 8))

    assert len(list(tree)) == 4
    assert n_matched(tree, tokens(1, 2, 3, 4, 7, 8, 9)) == 6


def test_a_text_that_parts_in_the_middle_of_a_run_still_finds_what_is_the_same():
    tree = PrefixTree(run=4)
    put(tree, tokens(1, 2, 3, 4, 5, 6, 7, 8))

    assert n_matched(tree, tokens(1, 2, 3, 4, 5, 6, 9, 9)) == 6
    assert tree.missing("", tokens(1, 2, 3, 4, 5, 6, 9, 9)) == 4


def test_what_has_grown_takes_the_place_of_what_it_was():
    tree = PrefixTree(run=4)
    put(tree, tokens(1, 2, 3, 4, 5))

    replaced = put(tree, tokens(1, 2, 3, 4, 5, 6, 7))

    assert [node.tokens.tolist() for node in replaced] == [[5]]
    assert tree.missing("", tokens(1, 2, 3, 4, 5, 6)) == 6


def test_nothing_is_shared_between_keys():
    tree = PrefixTree(run=2)
    put(tree, tokens(1, 2, 3), key="mine")

    assert n_matched(tree, tokens(1, 2, 3), key="yours") == 0


def test_of_equals_the_oldest_goes_first_and_leaves_before_what_they_follow():
    tree = PrefixTree(run=2)
    put(tree, tokens(1, 2, 3, 4))
    put(tree, tokens(5, 6, 7, 8))
    tree.touch(tree.match("", tokens(1, 2, 3, 4)))

    gone = []
    while (node := next_to_go(tree, lambda _: 100)) is not None:
        tree.remove(node)
        gone.append(node.tokens.tolist())

    assert gone == [[7, 8], [5, 6], [3, 4], [1, 2]]


def test_what_saves_fewest_tokens_for_its_bytes_goes_first_whatever_its_age():
    tree = PrefixTree(run=4)
    put(tree, tokens(1, 2, 3, 4))
    put(tree, tokens(5))
    assert next_to_go(tree, lambda _: 100).tokens.tolist() == [5]

    for _ in range(4):
        tree.touch(tree.match("", tokens(5)))
    assert next_to_go(tree, lambda _: 100).tokens.tolist() == [1, 2, 3, 4]


def test_worth_counts_uses_up_to_a_number_so_that_everything_ages():
    often = worth(floor=0, n_uses=10**6, n_tokens=10, n_bytes=10)
    assert often == worth(floor=0, n_uses=MOST_USES, n_tokens=10, n_bytes=10)
    assert often < worth(floor=MOST_USES, n_uses=1, n_tokens=10, n_bytes=10)
    assert worth(floor=0, n_uses=1, n_tokens=0, n_bytes=0) == 0


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=12), max_size=12), st.integers(1, 5))
def test_it_finds_the_longest_beginning_there_is(texts, run):
    tree = PrefixTree(run=run)
    texts = [tokens(*text) for text in texts]
    for text in texts:
        put(tree, text)

    for text in texts:
        assert n_matched(tree, text) == len(text)
        assert tree.missing("", text) == len(text)
        assert n_matched(tree, np.append(text, 2)) == len(text)


def test_reading_has_to_be_faster_than_computing():
    assert worth_reading(n_tokens=100, n_bytes=10**6, tokens_per_s=300, bytes_per_s=1e8)
    assert not worth_reading(n_tokens=10, n_bytes=10**9, tokens_per_s=3000, bytes_per_s=1e8)
    assert worth_reading(n_tokens=10, n_bytes=10**9, tokens_per_s=0, bytes_per_s=0)


def test_putting_back_has_to_be_faster_than_computing():
    """As it is not where cells lie scattered on a graphics processor."""
    assert worth_reading(n_tokens=100, n_bytes=0, tokens_per_s=300, bytes_per_s=0, load_s=1e-6)
    assert not worth_reading(n_tokens=100, n_bytes=0, tokens_per_s=17_000, bytes_per_s=0, load_s=9e-4)
    assert not worth_reading(n_tokens=100, n_bytes=10**8, tokens_per_s=300, bytes_per_s=4e8, load_s=1e-3)


def test_a_copy_has_to_be_cheap_beside_computing():
    assert worth_saving(save_s=20e-6, tokens_per_s=300)  # a processor
    assert not worth_saving(save_s=1e-3, tokens_per_s=25_000)  # a graphics processor, scattered cells
    assert worth_saving(save_s=0, tokens_per_s=25_000)
    assert worth_saving(save_s=1e-3, tokens_per_s=0)
