"""Which of several patterns a name goes by."""

import pytest

from aiadmin_core.errors import InvalidName
from aiadmin_server.store.patterns import best_pattern, check_alias_name, is_pattern, same_alias


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("gpt-4o", "gpt-4*"),
        ("GPT-4o", "gpt-4*"),
        ("gpt-5", "gpt-*"),
        ("gpt-4o-mini", "gpt-4*-mini"),
        ("gpt-mini", "gpt-*"),
        ("claude-sonnet-4-5:latest", "*"),
        ("org/gpt-5", "*"),
        ("gpt-", "gpt-*"),
    ],
)
def test_the_longest_text_before_the_first_star_counts_then_all_text(name: str, pattern: str):
    assert best_pattern(["*", "gpt-*", "gpt-4*", "*-mini", "gpt-4*-mini", "exact"], name) == pattern


def test_a_name_that_fits_none_goes_by_none():
    assert best_pattern(["gpt-*", "*-mini", "a*b*c"], "claude") is None
    assert best_pattern(["a*b*c"], "acb") is None
    assert best_pattern(["a*b*c"], "axbxc") == "a*b*c"
    assert best_pattern(["ab*ba"], "aba") is None, "no character is used twice"
    assert best_pattern(["*"], "gpt-\n4") is None, "it would be shown and logged"


def test_many_stars_and_long_names_take_no_time():
    assert best_pattern(["*a" * 40 + "b"], "a" * 600) is None


@pytest.mark.parametrize("name", ["gpt-*", "*", "org/*:latest", "a*b*c"])
def test_what_may_be_a_pattern(name: str):
    check_alias_name(name)
    assert is_pattern(name)


@pytest.mark.parametrize("name", ["gpt *", "*/*/*/*", "*\n", "", ".*"])
def test_what_is_neither_a_name_nor_a_pattern_is_refused(name: str):
    with pytest.raises(InvalidName):
        check_alias_name(name)


def test_a_pattern_has_one_spelling_but_for_case():
    assert same_alias("GPT-*", "gpt-*")
    assert same_alias("gpt-4", "GPT-4:latest")
    assert not same_alias("gpt-*", "gpt-4*")
