"""States of prompts taken out of the context: in memory up to one budget, in files up to another.

Owned by the engine thread. A state is opaque bytes that the backend makes and understands; what they are of is told by
a key (everything the state depends on but the tokens) and the tokens. Files survive a restart. Each is written whole
under another name and then renamed, carries a checksum, and is named by a digest of its key and tokens, so that damaged
and foreign ones are found out and removed.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np
import numpy.typing as npt

from .budget import next_to_go, worth_of
from .forgetting import OWNER
from .prefix_tree import Node, Part, PrefixTree, Tokens

State = npt.NDArray[np.uint8]

MAGIC = b"aiadmin parcel 1\n"
SUFFIX = ".parcel"


@dataclass(slots=True, eq=False)
class Parcel:
    """The state of one run of tokens. In memory, in a file, or both."""

    digest: str
    n_bytes: int
    data: State | None = None
    on_disk: bool = False


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What a file begins with, after `MAGIC` and its own length (4 bytes, big-endian)."""

    key: str
    parent: str
    """Digest of the parcel before it; "" for the first of a prompt."""
    start: int
    tokens: bytes
    """int32, little-endian."""
    n_bytes: int
    checksum: bytes


class Folder:
    """Parcels of one model as files in a folder of its own, beside the folders of other models, within a budget for all
    of them together: the least recently used go first."""

    def __init__(self, path: Path, max_bytes: int, *, model: str = "") -> None:
        """`model`: the digest of its weights, by which `forgetting` finds them."""
        self._path = path
        self._model = model
        self._max_bytes = max_bytes
        self._room = 0  # bytes to write before looking again: others write there too

    def headers(self) -> Iterator[tuple[str, Header]]:
        """(digest, header) of every file that can be one of ours, parents first; others are removed."""
        found: list[tuple[str, Header]] = []
        for path in self._path.glob(f"*{SUFFIX}"):
            header = self._header(path)
            if header is None:
                _remove(path)
            else:
                found.append((path.stem, header))
        yield from sorted(found, key=lambda item: item[1].start)

    def _header(self, path: Path) -> Header | None:
        """What a file begins with; None where it is not what its name says."""
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    return None
                header = msgspec.msgpack.decode(file.read(int.from_bytes(file.read(4), "big")), type=Header)
                digest = digest_of(header.key, header.parent, tokens_of(header))
        # ValueError: a text that is no UTF-8, which msgspec does not make an error of its own; half a token.
        except (OSError, msgspec.DecodeError, ValueError, MemoryError, OverflowError):
            return None
        return header if digest == path.stem else None

    def read(self, digest: str) -> State | None:
        """The state, or None where the file is damaged or gone; it is gone afterwards."""
        path = self._file(digest)
        header = self._header(path)
        if header is not None:
            with suppress(OSError):
                data = np.fromfile(path, np.uint8)
                state = data[len(data) - header.n_bytes :]
                if len(state) == header.n_bytes and checksum_of(state) == header.checksum:
                    os.utime(path)
                    return state
        _remove(path)
        return None

    def write(self, digest: str, header: Header, state: State) -> bool:
        """False where it cannot be: the disk is full, or the budget less than that."""
        path = self._file(digest)
        aside = path.with_suffix(f".{os.getpid()}.part")
        encoded = msgspec.msgpack.encode(header)
        try:
            if not self._path.is_dir():
                self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
                (self._path / OWNER).write_text(self._model)
            if not self._make_room(header.n_bytes + len(encoded)):
                return False
            with aside.open("wb") as file:
                file.write(MAGIC + len(encoded).to_bytes(4, "big") + encoded)
                file.write(state.data)
            aside.replace(path)
        except OSError:
            _remove(aside)
            return False
        return True

    def remove(self, digest: str) -> None:
        _remove(self._file(digest))

    def has(self, digest: str) -> bool:
        """Whether it is still there: other processes clear up, too."""
        return self._file(digest).exists()

    def _file(self, digest: str) -> Path:
        return self._path / f"{digest}{SUFFIX}"

    def _make_room(self, n_bytes: int) -> bool:
        if n_bytes > self._room:
            self._room = self._clear_up(n_bytes)
        self._room -= n_bytes
        return self._room >= 0

    def _clear_up(self, n_bytes: int) -> int:
        """Look at all there is, and remove what is too much; some more than that, to look less often. Gives how much
        may be written before the next look."""
        files = []
        for path in self._path.parent.glob(f"*/*{SUFFIX}"):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        left = self._max_bytes - sum(size for _, size, _ in files)
        if left < n_bytes:
            for _, size, path in sorted(files):
                if left >= n_bytes + self._max_bytes // 16:
                    break
                _remove(path)
                left += size
        return min(left, max(n_bytes, self._max_bytes // 16))


class Parking:
    """Parcels by the beginnings of prompts."""

    def __init__(self, *, run: int, max_bytes: int, folder: Folder | None = None) -> None:
        self._tree: PrefixTree[Parcel] = PrefixTree(run)
        self._max_bytes = max_bytes
        self._folder = folder
        self.n_bytes = 0
        """In memory."""
        if folder is not None:
            self._find_files(folder)

    @property
    def run(self) -> int:
        """Most tokens of a parcel."""
        return self._tree.run

    def match(self, key: str, tokens: Tokens) -> list[Part[Parcel]]:
        """The longest beginning of `tokens` that is parked."""
        return self._tree.match(hashed(key), tokens)

    def missing(self, key: str, tokens: Tokens) -> int:
        """Where the first run of `tokens` starts that is not parked; their number if all are."""
        return self._tree.missing(hashed(key), tokens)

    def put(self, key: str, tokens: Tokens, start: int, state: State) -> bool:
        """Park the run of `tokens` that starts at `start`, which `missing` gave. False where the budget has no room for
        it beside what it follows."""
        key = hashed(key)
        before = self._tree.match(key, tokens[:start])
        parent = before[-1].node.value.digest if before else ""
        run = tokens[start : start + self.run]
        parcel = Parcel(digest_of(key, parent, run), len(state), state)
        node, replaced = self._tree.add(key, tokens, start, parcel)
        self.n_bytes += len(state)
        for other in replaced:
            self._forget(other)
        while self.n_bytes > self._max_bytes and self._give_up(newcomer=node):
            pass
        node.floor = self._tree.floor
        return parcel.data is not None or parcel.on_disk

    def read(self, part: Part[Parcel]) -> State | None:
        """The state of the whole node; None where it was damaged or gone, and then it is out of the tree, with all that
        followed."""
        parcel = part.node.value
        if parcel.data is not None:
            return parcel.data
        state = self._folder.read(parcel.digest) if self._folder else None
        if state is None and self._tree.has(part.node):
            self._remove(part.node)
        return state

    def touch(self, parts: list[Part[Parcel]]) -> None:
        """These were of use."""
        self._tree.touch(parts)

    def close(self, *, within_s: float) -> None:
        """Write what is only in memory, the last used first, for as long as that; what cannot be written stays out."""
        deadline = monotonic() + within_s
        for node in sorted(self._tree, key=lambda node: (-node.used_at, node.start)):
            if monotonic() > deadline:
                return
            self._write(node)

    def _give_up(self, *, newcomer: Node[Parcel]) -> bool:
        """Free some memory: a file takes the place of the bytes, or nothing does. What has just come goes only where
        nothing else can."""
        in_memory = [node for node in self._tree if node.value.data is not None]
        others = (node for node in in_memory if node is not newcomer)
        node = (
            next_to_go(others, _size)
            or next_to_go(in_memory, _size)
            or min(in_memory, key=lambda node: node.used_at, default=None)
        )
        if node is None:
            return False
        self._tree.floor = max(self._tree.floor, worth_of(node, _size))
        if self._write(node):
            self._drop_bytes(node.value)
        else:
            self._remove(node)
        return True

    def _write(self, node: Node[Parcel]) -> bool:
        parcel = node.value
        if self._folder is None:
            return False
        if parcel.data is None or (parcel.on_disk and self._folder.has(parcel.digest)):
            return True
        header = Header(
            key=node.key,
            parent=node.parent.value.digest if node.parent else "",
            start=node.start,
            tokens=node.tokens.astype("<i4").tobytes(),
            n_bytes=parcel.n_bytes,
            checksum=checksum_of(parcel.data),
        )
        parcel.on_disk = self._folder.write(parcel.digest, header, parcel.data)
        return parcel.on_disk

    def _remove(self, node: Node[Parcel]) -> None:
        for child in list(node.children):
            self._remove(child)
        self._tree.remove(node)
        self._forget(node)

    def _forget(self, node: Node[Parcel]) -> None:
        self._drop_bytes(node.value)
        if node.value.on_disk and self._folder:
            self._folder.remove(node.value.digest)

    def _drop_bytes(self, parcel: Parcel) -> None:
        if parcel.data is not None:
            self.n_bytes -= parcel.n_bytes
            parcel.data = None

    def _find_files(self, folder: Folder) -> None:
        texts: dict[str, Tokens] = {"": np.empty(0, np.int32)}
        for digest, header in folder.headers():
            before = texts.get(header.parent)
            if before is None or len(before) != header.start or header.start % self.run:
                folder.remove(digest)  # what it follows is gone
                continue
            tokens = np.concatenate([before, tokens_of(header)])
            if self._tree.missing(header.key, tokens) != header.start:
                folder.remove(digest)
                continue
            _, replaced = self._tree.add(header.key, tokens, header.start, Parcel(digest, header.n_bytes, on_disk=True))
            for node in replaced:
                self._forget(node)
            texts[digest] = tokens


class SharedParking(Parking):
    """For several engine threads: one at a time."""

    def __init__(self, *, run: int, max_bytes: int, folder: Folder | None = None) -> None:
        self._lock = threading.RLock()
        super().__init__(run=run, max_bytes=max_bytes, folder=folder)

    def match(self, key: str, tokens: Tokens) -> list[Part[Parcel]]:
        with self._lock:
            return super().match(key, tokens)

    def missing(self, key: str, tokens: Tokens) -> int:
        with self._lock:
            return super().missing(key, tokens)

    def put(self, key: str, tokens: Tokens, start: int, state: State) -> bool:
        """Where somebody else has parked that run meanwhile, theirs stays."""
        with self._lock:
            return super().missing(key, tokens) != start or super().put(key, tokens, start, state)

    def read(self, part: Part[Parcel]) -> State | None:
        """None, too, where somebody else has removed it since it was found."""
        with self._lock:
            return super().read(part) if any(node is part.node for node in self._tree) else None

    def touch(self, parts: list[Part[Parcel]]) -> None:
        with self._lock:
            super().touch(parts)

    def close(self, *, within_s: float) -> None:
        with self._lock:
            super().close(within_s=within_s)


def _size(parcel: Parcel) -> int:
    return parcel.n_bytes


def hashed(key: str) -> str:
    """Keys hold salts, which are not for files."""
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def digest_of(key: str, parent: str, tokens: Tokens) -> str:
    """Names a parcel's file. `key` as `hashed`; `parent`: the digest of the parcel before, "" for none."""
    return hashlib.blake2b(f"{key} {parent} ".encode() + tokens.astype("<i4").tobytes(), digest_size=20).hexdigest()


def checksum_of(state: State) -> bytes:
    return hashlib.blake2b(state.data, digest_size=16).digest()


def tokens_of(header: Header) -> Tokens:
    """The run that a file is of."""
    return np.frombuffer(header.tokens, "<i4").astype(np.int32)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
