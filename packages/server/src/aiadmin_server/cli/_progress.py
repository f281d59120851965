"""How a pull shows how far it is: a bar on a terminal, a line now and then in a pipe. Both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from aiadmin_core.sources import Progress

from ._output import size

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
    """One rich bar for each status that counts bytes, a line for each that does not."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    tasks: dict[str, TaskID] = {}
    said: set[str] = set()
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:

        def report(progress: Progress) -> None:
            if not progress.total and not progress.completed:
                if progress.status not in said:
                    bars.console.print(progress.status, markup=False)
                    said.add(progress.status)
                return
            if progress.status not in tasks:
                for task in tasks.values():
                    bars.stop_task(task)
                tasks[progress.status] = bars.add_task(progress.status, total=None)
            bars.update(tasks[progress.status], total=progress.total or None, completed=progress.completed)

        yield report
