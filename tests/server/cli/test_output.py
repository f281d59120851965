"""What the verbs print, and how sizes, counts and times read."""

import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from aiadmin_server.cli._output import ago, aligned, count, facts, fitted, longest_words, print_json, size, span, table


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [(0, "0 B"), (999, "999 B"), (92_000_000, "92 MB"), (1_400_000_000, "1.4 GB"), (999_999_999, "1.0 GB")],
)
def test_sizes_are_decimal_and_short(n_bytes, shown):
    assert size(n_bytes) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(0, ""), (950, "950"), (134_515_008, "135M"), (1_700_000_000, "1.7B"), (7e12, "7T")]
)
def test_large_counts_are_shortened(number, shown):
    assert count(int(number)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1, "1 second"), (59.9, "59 seconds"), (60, "1 minute"), (7_200, "2 hours"), (86_400, "1 day"), (1e9, "31 years")],
)
def test_a_duration_is_said_in_its_largest_unit(seconds, shown):
    assert span(seconds) == shown


def test_what_has_just_happened_is_just_now():
    now = datetime(2026, 1, 1, tzinfo=UTC)

    assert ago(now - timedelta(seconds=2), now) == "just now"
    assert ago(now - timedelta(minutes=3), now) == "3 minutes ago"
    assert ago(now + timedelta(hours=1), now) == "just now", "a clock that was set back is no crash"


def test_columns_line_up_and_no_line_ends_in_spaces():
    assert aligned([("NAME", "SIZE"), ("smollm2:latest", "92 MB"), ("a", "")]) == [
        "NAME            SIZE",
        "smollm2:latest  92 MB",
        "a",
    ]


def test_a_table_in_a_pipe_is_plain_lines(capsys):
    table(("NAME", "SIZE"), [("[bold]x", "1 B")])

    assert capsys.readouterr().out == "NAME     SIZE\n[bold]x  1 B\n"


def test_a_value_of_several_lines_stays_in_its_column(capsys):
    facts([("license", "MIT\nreally"), ("size", "1 B")])

    assert capsys.readouterr().out == "license  MIT\n         really\nsize     1 B\n"


def test_json_keeps_characters_as_they_are(capsys):
    print_json({"text": "größer", "path": datetime(2026, 1, 1, tzinfo=UTC)})

    assert '"größer"' in capsys.readouterr().out


def test_a_column_is_as_wide_as_its_longest_word():
    rows = [("NAME", "NOTES"), ("registry.example/team/smollm2:latest", "safe mode"), ("a", "")]

    assert longest_words(rows, len) == [len("registry.example/team/smollm2:latest"), len("NOTES")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_narrow_terminal_shows_every_name_whole(add, echo):
    pexpect = pytest.importorskip("pexpect")
    name = "registry.example/some-team/a-model-with-a-long-name:q4"
    add(name)

    child = pexpect.spawn(
        sys.executable, ["-m", "aiadmin_server", "list"], env=echo, encoding="utf-8", dimensions=(24, 40), timeout=20
    )
    child.expect(pexpect.EOF)

    assert name in child.before
    assert all(not line.isspace() for line in child.before.rstrip().split("\r\n"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_what_is_wrong_with_a_plugin_can_be_read_in_80_columns(echo):
    pexpect = pytest.importorskip("pexpect")
    echo["AIADMIN_PLUGINS"] += ",a-plugin-that-is-not-there"

    child = pexpect.spawn(
        sys.executable, ["-m", "aiadmin_server", "plugins"], env=echo, encoding="utf-8", dimensions=(24, 80), timeout=20
    )
    child.expect(pexpect.EOF)

    lines = [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in child.before.rstrip().split("\r\n")]
    assert max(map(len, lines)) < 80
    assert ["a-plugin-that-is-not-there", "not", "in", "use"] in [line.split() for line in lines]
    assert lines[-2:] == [
        "a-plugin-that-is-not-there is not in use: named in AIADMIN_PLUGINS and not",
        "  installed.",
    ]


def test_text_is_broken_between_words_and_goes_on_below_its_second_column():
    text = "/set NAME VALUE   set one of these, or unset it\nshort\nA sentence that goes on and on."

    assert fitted(text, 36).split("\n") == [
        "/set NAME VALUE   set one of these,",
        "                  or unset it",
        "short",
        "A sentence that goes on and on.",
    ]
    assert fitted("A sentence that goes on and on.", 20).split("\n") == ["A sentence that goes", "  on and on."]
    assert fitted("      a-long-word, b-word, c-word", 20).split("\n") == ["      a-long-word,", "      b-word, c-word"]
