"""What the verbs print, and how sizes, counts and times read."""

from datetime import UTC, datetime, timedelta

import pytest

from aiadmin_server.cli._output import ago, aligned, count, facts, narrowest, print_json, size, span, table


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


def test_a_table_is_never_so_narrow_that_a_name_breaks():
    rows = [("NAME", "NOTES"), ("registry.example/team/smollm2:latest", "safe mode")]

    assert narrowest(rows, len) == len("registry.example/team/smollm2:latest") + 1 + len("NOTES")
