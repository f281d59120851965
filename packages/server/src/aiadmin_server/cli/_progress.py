"""How a pull shows how far it is: a bar on a terminal, a line now and then in a pipe. Both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from aiadmin_core.sources import Progress

from ._output import size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_INTERVAL_S = 5.0
"""Between two lines about one download, where there is no terminal."""
Report = Callable[[Progress], None]


@contextmanager
def shown_progress() -> Iterator[Report]:
    """Give the function a pull reports to."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield Lines(print_line=lambda line: click.echo(line, err=True))


class Lines:
    """Prints a status when it changes, then at most every `LINE_INTERVAL_S`, and when it is complete."""

    def __init__(self, *, print_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._print_line = print_line
        self._clock = clock
        self._status = ""
        self._line = ""
        self._due_s = 0.0

    def __call__(self, progress: Progress) -> None:
        complete = 0 < progress.total <= progress.completed
        changed = progress.status != self._status
        line = line_of(progress)
        if line != self._line and (changed or complete or self._clock() >= self._due_s):
            self._print_line(line)
            self._line = line
            self._due_s = self._clock() + LINE_INTERVAL_S
        self._status = progress.status


def line_of(progress: Progress) -> str:
    """`pulling 1a2b: 46 MB of 92 MB (50%)`."""
    if not progress.total:
        return f"{progress.status}: {size(progress.completed)}" if progress.completed else progress.status
    share = min(100, 100 * progress.completed // progress.total)
    return f"{progress.status}: {size(progress.completed)} of {size(progress.total)} ({share}%)"


@contextmanager
def _bars() -> Iterator[Report]:
    """One rich bar for each status that counts bytes, a line for each that does not, in the order they come."""
    from rich.console import Console

    bars = Bars(Console(stderr=True))
    try:
        yield bars.report
    finally:
        bars.end()


class Bars:
    """Bars and lines on a terminal. What is drawn last stays at the bottom: a line ends the bars before it."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: set[str] = set()

    def report(self, progress: Progress) -> None:
        if progress.total or progress.completed:
            self._advance(progress)
        elif progress.status not in self._said:
            self.end()
            self._console.print(progress.status, markup=False)
            self._said.add(progress.status)

    def end(self) -> None:
        """Leave the bars as they are; later ones come below."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()

    def _advance(self, progress: Progress) -> None:
        if self._bars is None:
            self._bars = _make_bars(self._console)
            self._bars.start()
        if progress.status not in self._tasks:
            for task in self._tasks.values():
                self._bars.stop_task(task)
            self._tasks[progress.status] = self._bars.add_task(progress.status, total=None)
        task = self._tasks[progress.status]
        self._bars.update(task, total=progress.total or None, completed=progress.completed)


def _make_bars(console: "Console") -> "RichProgress":
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return RichProgress(*columns, TimeRemainingColumn(), console=console)
