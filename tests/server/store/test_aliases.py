"""Aliases: names that follow a model."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from aiadmin_core.errors import BadRequest, InvalidName, StoreError
from aiadmin_server.store.aliases import Alias, Aliases, AliasNotFound


@pytest.fixture
def aliases(tmp_path: Path) -> Aliases:
    return Aliases(tmp_path / "aiadmin" / "aliases.json")


def test_there_are_none_at_first(aliases: Aliases):
    assert aliases.all() == {}
    assert aliases.get("x") is None
    assert aliases.problem() == ""
    assert not aliases.path.parent.exists()


def test_an_alias_keeps_its_settings_and_is_found_in_any_case(aliases: Aliases):
    alias = Alias(
        target="smollm2",
        fallbacks=("b",),
        backend="mlx",
        keep_alive="10m",
        system="Hi",
        parameters={"num_ctx": 4096, "temperature": 0},
    )
    aliases.set("GPT-4", alias)
    assert aliases.get("gpt-4:latest") == alias
    assert Aliases(aliases.path).all() == {"GPT-4": alias}


def test_setting_it_again_replaces_it(aliases: Aliases):
    aliases.set("GPT-4", Alias(target="a"))
    aliases.set("gpt-4", Alias(target="b"))
    assert aliases.all() == {"gpt-4": Alias(target="b")}


def test_removing_says_when_there_is_none(aliases: Aliases):
    aliases.set("gpt-4", Alias(target="a"))
    aliases.remove("GPT-4")
    assert aliases.all() == {}
    with pytest.raises(AliasNotFound, match="no alias"):
        aliases.remove("gpt-4")


def test_a_change_that_is_refused_changes_nothing(aliases: Aliases):
    """Who refuses sees all aliases as they would be."""
    aliases.set("a", Alias(target="m"))

    def refuse(after: Mapping[str, Alias]) -> None:
        assert after == {"A": Alias(target="n")}
        raise BadRequest("no")

    with pytest.raises(BadRequest, match="no"):
        aliases.set("A", Alias(target="n"), refuse)
    assert aliases.all() == {"a": Alias(target="m")}


def test_a_name_may_be_a_pattern(aliases: Aliases):
    aliases.set("gpt-*", Alias(target="m"))
    aliases.set("GPT-*:latest", Alias(target="n"))
    assert aliases.get("gpt-*") == Alias(target="m")
    with pytest.raises(InvalidName, match="no pattern"):
        aliases.set("gpt *", Alias(target="m"))


def test_bad_names_and_durations_are_refused(aliases: Aliases):
    with pytest.raises(InvalidName):
        aliases.set("a b", Alias(target="m"))
    with pytest.raises(BadRequest, match="keep_alive"):
        aliases.set("a", Alias(target="m", keep_alive="soon"))


def test_a_broken_file_is_named_and_not_overwritten(aliases: Aliases):
    aliases.path.parent.mkdir()
    aliases.path.write_text("{")
    assert aliases.all() == {}
    assert "cannot be read" in aliases.problem()
    with pytest.raises(StoreError, match="cannot be read"):
        aliases.set("a", Alias(target="m"))
    assert aliases.path.read_text() == "{"


def test_changes_at_the_same_time_are_all_kept(aliases: Aliases):
    threads = [
        threading.Thread(target=lambda index=index: Aliases(aliases.path).set(f"a{index}", Alias(target="m")))
        for index in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(aliases.all()) == 16


def test_a_broken_file_is_no_file_without_aliases(aliases: Aliases):
    aliases.check("x")
    aliases.path.parent.mkdir()
    for content in (b"{", b"[]", b"\xff", b'{"a": 1'):
        aliases.path.write_bytes(content)
        with pytest.raises(StoreError, match="cannot be read"):
            aliases.check("x")
        assert aliases.path.read_bytes() == content


def test_a_broken_entry_spoils_no_other_and_is_kept_as_it_is(aliases: Aliases):
    aliases.path.parent.mkdir()
    aliases.path.write_text('{"bad": {"target": 3}, "worse": 7, "small": {"target": "m", "n_ctx": -1}}')
    aliases.set("good", Alias(target="m"))

    assert set(aliases.all()) == {"good"}
    with pytest.raises(StoreError, match="The alias 'BAD'"):
        aliases.check("BAD")
    aliases.check("other")
    assert all(name in aliases.problem() for name in ("bad", "worse", "small"))
    assert '"target": 3' in aliases.path.read_text()
    aliases.set("bad", Alias(target="m"))
    aliases.remove("worse")
    assert set(aliases.all()) == {"bad", "good"}


@pytest.mark.parametrize("keep_alive", ['"soon"', '"5 minutes"', '""'])
def test_a_keep_alive_that_means_nothing_is_left_out_and_named(aliases: Aliases, keep_alive: str):
    aliases.path.parent.mkdir()
    aliases.path.write_text(f'{{"a": {{"target": "m", "n_ctx": 64, "keep_alive": {keep_alive}}}}}')
    aliases.check("a")
    assert aliases.get("a") == Alias(target="m", parameters={"num_ctx": 64})
    assert "keep_alive is left out" in aliases.problem()
