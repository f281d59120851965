"""Everything the verbs print: data to stdout (tables, `--json`), progress and remarks to stderr.

On a terminal rich draws; in a pipe lines are plain and aligned. Rich is imported only where it draws.
"""

import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

_FIRST_COLUMN = re.compile(r"(?:\S+ )*\S* {2,}")
GAP = 2
"""Spaces between columns."""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under upper-case headings."""
    if sys.stdout.isatty():
        _draw(columns, rows)
    else:
        for line in aligned([columns, *rows]):
            click.echo(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose columns start at the same place, nothing after the last word."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    widths = longest_words([columns, *rows], cell_len)
    for column, width in zip(columns, widths, strict=True):
        drawn.add_column(column, min_width=width)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # Text: brackets in a name are no markup
    # In a terminal that is narrower, lines go on at its edge: a name whose line is wrapped can be copied, one that is
    # split over two cells cannot.
    narrowest = sum(widths) + GAP * (len(widths) - 1)
    Console(width=max(Console().width, narrowest)).print(drawn, crop=False)


def longest_words(rows: Sequence[Sequence[str]], cells: Callable[[str], int]) -> list[int]:
    """Width of the longest word of each column: no column may be narrower."""
    columns = zip(*rows, strict=True)
    return [max((cells(word) for cell in column for word in cell.split()), default=0) for column in columns]


def paragraph(text: str) -> None:
    """Print a sentence or two: between words where a terminal ends, as they are in a pipe."""
    click.echo(fitted(text, columns()) if sys.stdout.isatty() else text)


def columns() -> int:
    """How wide text is set on this terminal."""
    return max(20, min(shutil.get_terminal_size().columns, 100) - 1)


def fitted(text: str, width: int) -> str:
    """`text` with its longer lines broken between words. What goes on is indented: below the second column of a line
    that has two (two spaces stand between them), else by two. Pure."""

    def fill(line: str) -> str:
        first = _FIRST_COLUMN.match(line)
        indent = len(first[0]) if first and len(first[0]) <= width // 2 else 2
        return textwrap.fill(
            line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )

    return "\n".join(line if len(line) <= width else fill(line) for line in text.split("\n"))


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print labels and values in two columns; further lines of a value go under its first."""
    width = max(len(label) for label, _ in pairs)
    terminal = sys.stdout.isatty()
    for label, value in pairs:
        first, *more = value.split("\n")
        click.echo(f"{click.style(label.ljust(width), bold=terminal)}  {first}".rstrip())
        for line in more:
            click.echo(" " * (width + 2) + line)


def print_json(value: Any) -> None:
    """Print anything msgspec can encode, indented, in characters rather than escapes."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def remark(text: str) -> None:
    """A line on stderr, beside the data."""
    click.echo(text, err=True)


def size(n_bytes: int) -> str:
    """Bytes in decimal units, as disks and downloads count them: `92 MB`, `1.4 GB`."""
    amount = float(n_bytes)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            return f"{amount:.1f} {unit}" if amount < 9.95 and unit not in ("B", "KB") else f"{amount:.0f} {unit}"
        amount /= 1000
    raise AssertionError


def count(number: int) -> str:
    """A large count in short: `135M`, `1.7B`; "" for 0, which means unknown."""
    if not number:
        return ""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= limit:
            short = number / limit
            return f"{short:.0f}{unit}" if short >= 99.5 else f"{short:.3g}{unit}"
    return str(number)


def span(seconds: float) -> str:
    """A duration in its largest unit: `3 minutes`."""
    for length, unit in ((31_557_600, "year"), (2_629_800, "month"), (604_800, "week"), (86_400, "day")):
        if seconds >= 2 * length or (unit == "day" and seconds >= length):
            return _plural(int(seconds // length), unit)
    for length, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= length:
            return _plural(int(seconds // length), unit)
    return _plural(int(seconds), "second")


def ago(moment: datetime, now: datetime) -> str:
    """How long before `now`."""
    seconds = (now - moment).total_seconds()
    return "just now" if seconds < 5 else f"{span(seconds)} ago"


def _plural(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
