"""Text that arrives in pieces, shown on a terminal without a word broken at its edge. Used by `_answer`."""

import shutil
from collections.abc import Callable

WIDE = 2
"""Cells of a character of scripts that are written without spaces: a line may end before each of them."""


class Wrapper:
    """Shows every character at once. A word that reaches the edge is taken back and begins the next line."""

    def __init__(self, emit: Callable[[str], None], width: Callable[[], int] | None = None) -> None:
        """`emit` writes to the terminal; `width` is that of the terminal now, in cells."""
        self._emit = emit
        self._width = width or (lambda: shutil.get_terminal_size().columns)
        self._column = 0
        self._word = ""
        """What stands of the current word on this line."""

    def write(self, text: str) -> None:
        """Show `text`, which goes on from what was shown."""
        # The last column stays empty: where the cursor is after a character in it, terminals do not agree.
        room = max(self._width() - 1, WIDE)
        self._emit("".join([self._next(character, room) for character in text]))

    def _next(self, character: str, room: int) -> str:
        """What shows one more character on a line of `room` cells."""
        n_cells = 8 - self._column % 8 if character == "\t" else _cells(character)
        if character == "\n":
            self._column, self._word = 0, ""
            return character
        goes_on = character not in " \t" and n_cells < WIDE
        if self._column + n_cells <= room:
            self._column += n_cells
            self._word = self._word + character if goes_on else ""
            return character
        if character in " \t":
            self._column, self._word = 0, ""
            return "\n"
        moved = self._word if goes_on and _cells(self._word) < self._column else ""  # a word of a whole line stays
        back = f"\x1b[{_cells(moved)}D\x1b[K" if moved else ""
        self._column = _cells(moved) + n_cells
        self._word = moved + character if goes_on else ""
        return f"{back}\n{moved}{character}"


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
