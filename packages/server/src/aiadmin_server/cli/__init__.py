"""The command line: `aiadmin VERB ...`, one module a verb.

`main` is the console command. It imports click and nothing else of weight; a verb's module is imported when the verb
is used, and imports what it needs inside its function.
"""

import io
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit: 0 done, 1 failed, 2 misused, 130 interrupted."""
    from ._group import aiadmin

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that lacks a character shows "?" for it
    aiadmin.main(args=None if arguments is None else list(arguments), prog_name="aiadmin")
