"""A fake of llama.cpp's cache for the pure parts, and one open engine with the real model for the rest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.testing.driving import Driver


@dataclass
class Cell:
    position: int
    token: int
    sequences: set[int]


HOLDER, SCRATCH = -1, -2


class FakeMemory:
    """A unified cache that takes cells as llama.cpp does (`llama_kv_cache::find_slot`): the first free ones from where
    it last stopped, or from the lowest it has freed since."""

    def __init__(self, *, can_trim: bool = True, n_swa: int = 0, keeps_order: bool = True) -> None:
        self.can_trim = can_trim
        self.keeps_order = keeps_order
        self.n_swa = n_swa
        self.n_compacted = 0
        self.forgotten: dict[int, int] = {}
        self.cells: list[Cell | None] = []
        self._head = 0

    def _of(self, sequence: int, start: int = 0) -> list[Cell]:
        """In the order that attention adds them up in, where that is meant to be kept."""
        found = [cell for cell in self.cells if cell and sequence in cell.sequences and cell.position >= start]
        return found if self.keeps_order else sorted(found, key=lambda cell: cell.position)

    def decode(self, sequence: int, tokens: Sequence[int]) -> None:
        self._place(sequence, len(self._of(sequence)), tokens)

    def _place(self, sequence: int, position: int, tokens: Sequence[int]) -> None:
        n_used = sum(cell is not None for cell in self.cells)
        if self._head > n_used + 2 * len(tokens):
            self._head = 0
        for n, token in enumerate(tokens):
            while self._head < len(self.cells) and self.cells[self._head] is not None:
                self._head += 1
            if self._head == len(self.cells):
                self.cells.append(None)
            self.cells[self._head] = Cell(position + n, int(token), {sequence})

    def tokens(self, sequence: int) -> list[int]:
        cells = self._of(sequence)
        assert [cell.position for cell in cells] == list(range(len(cells))), "out of order"
        return [cell.token for cell in cells]

    def n_cells(self, sequences: Sequence[int] | None = None) -> int:
        """In use, or in use by `sequences`; what is only held does not count."""
        wanted = None if sequences is None else set(sequences)
        return sum(
            bool((cell.sequences & wanted) if wanted is not None else cell.sequences - {HOLDER})
            for cell in self.cells
            if cell
        )

    def share(self, source: int, target: int, end: int) -> None:
        assert not self._of(target), "shared into a sequence that is in use"
        for cell in self._of(source):
            if cell.position < end:
                cell.sequences.add(target)

    def hold(self, sequence: int, start: int) -> None:
        for cell in self._of(sequence, start):
            cell.sequences.add(HOLDER)
        self._remove(sequence, start)

    def save(self, sequence: int, start: int, end: int) -> Any:
        cells = [(cell.position, cell.token) for cell in self._of(sequence, start) if cell.position < end]
        assert [position for position, _ in cells] == list(range(start, end))
        return np.frombuffer(np.array(cells, np.int64).tobytes(), np.uint8)

    def load(self, state: Any, target: int, start: int, first: int, last: int, *, hold: bool = True) -> bool:
        cells = np.frombuffer(state.tobytes(), np.int64).reshape(-1, 2)
        assert cells[0][0] == start <= first <= len(self._of(target)) == first < last
        self._place(SCRATCH, start, [int(token) for _, token in cells])
        self._remove(SCRATCH, last)
        for cell in self._of(SCRATCH):
            if cell.position >= first:
                cell.sequences.add(target)
            elif hold:
                cell.sequences.add(HOLDER)
        self._remove(SCRATCH, 0)
        return True

    def compact(self, sequences: Iterable[int]) -> None:
        self._remove(HOLDER, 0)
        if self.n_swa:
            for cell in self.cells:
                if cell and cell.sequences & set(sequences):
                    cell.sequences.add(HOLDER)
        self.cells = [cell for cell in self.cells if cell]
        self._head = 0
        self.n_compacted += 1

    def trim(self, sequence: int, start: int) -> bool:
        if not self.can_trim:
            return False
        self._remove(sequence, start)
        return True

    def remove(self, sequence: int) -> None:
        self._remove(sequence, 0)

    def _remove(self, sequence: int, start: int) -> None:
        freed = []
        for index, cell in enumerate(self.cells):
            if cell and sequence in cell.sequences and cell.position >= start:
                cell.sequences.discard(sequence)
                if not cell.sequences:
                    self.cells[index] = None
                    freed.append(index)
        self._head = min([self._head, *freed])

    def first_position(self, sequence: int) -> int:
        return self.forgotten.get(sequence, 0) if self._of(sequence) else -1

    def clear(self) -> None:
        self.cells.clear()
        self._head = 0


@pytest.fixture(scope="session")
def fake_memory() -> Callable[..., FakeMemory]:
    return FakeMemory


@pytest.fixture(scope="session")
def smollm2_spec(smollm2_gguf: Path) -> ModelSpec:
    file = ModelFile(role="model", path=str(smollm2_gguf))
    return ModelSpec(name="smollm2:latest", digest="", format="gguf", files=(file,))


@pytest.fixture(scope="session")
def open_driver(smollm2_spec: ModelSpec) -> Callable[..., Driver]:
    """Open the real model with the options given; the caller closes `driver.engine`.

    In safe mode: a default build of the library may crash in its first step, and would take the tests with it.
    """

    def open_driver(*, path: Path | None = None, draft: Path | None = None, digest: str = "", **options: Any) -> Driver:
        from aiadmin_llamacpp.backend import LlamaBackend

        files = (ModelFile(role="model", path=str(path)),) if path else smollm2_spec.files
        if draft is not None:
            files = (*files, ModelFile(role="draft", path=str(draft)))
            options = {"draft_model": draft.stem, **options}
        spec = msgspec.structs.replace(smollm2_spec, digest=digest, files=files)
        options = {"n_contexts": 1, **options}  # what one does is looked at more closely
        return Driver(LlamaBackend().open_engine(spec, EngineOptions(safe_mode=True, **options)))

    return open_driver


@pytest.fixture(scope="session")
def driver(open_driver: Callable[..., Driver]) -> Iterator[Driver]:
    """The engine most tests share: requests of one test do not disturb those of another."""
    driver = open_driver(n_ctx=4096, n_parallel=8)
    yield driver
    driver.engine.close()
