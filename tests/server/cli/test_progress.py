"""A pull's progress in a pipe."""

import io

from rich.console import Console

from aiadmin_core.sources import Progress
from aiadmin_server.cli._progress import LINE_INTERVAL_S, Bars, Lines, line_of


def test_a_line_names_bytes_and_share():
    assert line_of(Progress(status="pulling 1a2b", completed=46_000_000, total=92_000_000)) == (
        "pulling 1a2b: 46 MB of 92 MB (50%)"
    )
    assert line_of(Progress(status="verifying")) == "verifying"
    assert line_of(Progress(status="fetching", completed=5_000)) == "fetching: 5 KB"


def test_a_pipe_gets_a_line_now_and_then_and_the_last_one():
    """A thousand reports within one interval: the first, the complete one, and nothing between."""
    printed: list[str] = []
    lines = Lines(print_line=printed.append, clock=lambda: 0.0)

    for done in range(1001):
        lines(Progress(status="pulling", completed=done * 1000, total=1_000_000))

    assert printed == ["pulling: 0 B of 1.0 MB (0%)", "pulling: 1.0 MB of 1.0 MB (100%)"]


def test_a_slow_download_speaks_at_every_interval():
    printed: list[str] = []
    now = [0.0]
    lines = Lines(print_line=printed.append, clock=lambda: now[0])

    for step in range(4):
        now[0] = step * LINE_INTERVAL_S
        lines(Progress(status="pulling", completed=step * 1_000_000, total=100_000_000))

    assert len(printed) == 4


def test_a_new_status_is_said_at_once():
    printed: list[str] = []
    lines = Lines(print_line=printed.append, clock=lambda: 0.0)

    lines(Progress(status="pulling"))
    lines(Progress(status="verifying"))
    lines(Progress(status="verifying"))

    assert printed == ["pulling", "verifying"]


def test_on_a_terminal_what_comes_last_stands_last():
    """`success` below the bars, not above them."""
    screen = io.StringIO()
    bars = Bars(Console(file=screen, force_terminal=True, width=100))

    bars.report(Progress(status="downloading", completed=1, total=2))
    bars.report(Progress(status="downloading", completed=2, total=2))
    bars.report(Progress(status="writing manifest"))
    bars.report(Progress(status="success"))
    bars.end()

    text = screen.getvalue()
    assert text.rindex("downloading") < text.index("writing manifest") < text.index("success")
