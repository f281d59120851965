"""Reader of GGUF headers: metadata and tensor shapes, never the weights. Used by `backend.inspect`, in any process.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header may come from anywhere, so every count
and length in it is checked against what is left of the file before it is believed.
"""

import math
import os
import struct
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import BadRequest

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEY_BYTES = 65_535  # the format's own limits
MAX_DIMENSIONS = 4
MAX_DEPTH = 4  # of arrays in arrays; nobody writes more than two
CHUNK_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

# `general.file_type`: llama_ftype in llama.h. Numbers that are missing were withdrawn.
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}

# ggml_type in ggml.h, for files without `general.file_type`.
TENSOR_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
    42: "Q2_0",
}


# ggml_type -> (elements, bytes) of a block: the block_* structs of ggml-common.h. Types that are missing have no place
# in files, or sizes that are not settled yet.
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}
DEFAULT_ALIGNMENT = 32

# `general.sampling.*`: LLM_KV_SAMPLING_* in llama-arch.cpp, to the names of `SamplingParams`.
SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Name, shape and type of a tensor; its data stays in the file."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int = 0
    """Of its data, from where the data of all tensors begins."""

    @property
    def n_elements(self) -> int:
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """0 for a type of unknown size."""
        elements, size = BLOCKS.get(self.type, (1, 0))
        return self.n_elements // elements * size


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a GGUF says of itself."""

    version: int
    metadata: dict[str, Any]
    """Without arrays, but for those that were asked for."""
    tensors: tuple[Tensor, ...]
    n_header_bytes: int = 0

    @property
    def n_bytes(self) -> int:
        """The least that the file must have for all its tensors."""
        alignment = _whole(self.metadata.get("general.alignment")) or DEFAULT_ALIGNMENT
        data = -(-self.n_header_bytes // alignment) * alignment
        return max((data + tensor.offset + tensor.n_bytes for tensor in self.tensors), default=self.n_header_bytes)


def is_gguf(path: Path) -> bool:
    """Whether the file starts like a GGUF. Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_header(path: Path, *, arrays: Collection[str] = ()) -> Header:
    """Read the header. `arrays` names the metadata arrays to keep; the others (a whole vocabulary) are passed over.

    Raises `BadRequest` if the file is no GGUF, or a broken one, and `OSError` if it cannot be read.
    """
    with path.open("rb") as file:
        cursor = _Cursor(file, path)
        if cursor.take(4) != MAGIC:
            raise cursor.broken("it does not start with 'GGUF'")
        version = cursor.number("I")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            why = "it is big-endian" if swapped in VERSIONS else f"its version is {version}"
            raise cursor.broken(f"{why}; versions 2 and 3, little-endian, can be read")
        n_tensors = cursor.count("Q", smallest=24)
        n_values = cursor.count("Q", smallest=13)
        metadata: dict[str, Any] = {}
        for _ in range(n_values):
            key = cursor.text(limit=MAX_KEY_BYTES)
            value_type = cursor.number("I")
            if value_type == ARRAY and key not in arrays:
                cursor.skip_array()
            else:
                metadata[key] = cursor.value(value_type)
        tensors = tuple(cursor.tensor() for _ in range(n_tensors))
        return Header(version=version, metadata=metadata, tensors=tensors, n_header_bytes=cursor.position)


def read_whole(path: Path) -> Header:
    """The header of a file that has the data of all its tensors. Raises as `read_header` does, also for a file that
    ends before they do."""
    header = read_header(path)
    size = path.stat().st_size
    if size < header.n_bytes:
        raise _broken(path, f"it has {size:,} bytes, and its tensors need {header.n_bytes:,}")
    return header


def _broken(path: Path, why: str) -> BadRequest:
    return BadRequest(
        f"'{path.name}' is not a readable GGUF file: {why}.",
        hint="The download may be incomplete or damaged: fetch the file again.",
    )


def model_info(header: Header) -> ModelInfo:
    """The facts of a header that AiAdmin shows and decides by. Values of an unexpected type count as absent."""
    metadata = header.metadata
    architecture = _text(metadata.get("general.architecture")) or ""
    return ModelInfo(
        format="gguf",
        architecture=architecture,
        n_params=sum(tensor.n_elements for tensor in header.tensors),
        n_ctx_train=_whole(metadata.get(f"{architecture}.context_length")),
        n_embd=_whole(metadata.get(f"{architecture}.embedding_length")),
        quantization=_quantization(header),
        chat_template=_text(metadata.get("tokenizer.chat_template")),
        metadata=metadata,
        parameters=_sampling(metadata),
        is_adapter=metadata.get("general.type") == "adapter",
    )


def _sampling(metadata: dict[str, Any]) -> dict[str, Any]:
    """How the file's maker recommends to sample. float32 is rounded to what was meant: 0.6, not 0.60000002."""
    found: dict[str, Any] = {}
    for key, name in SAMPLING.items():
        value = metadata.get(f"general.sampling.{key}")
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[name] = value if isinstance(value, int) else float(f"{value:.6g}")
    return found


def _quantization(header: Header) -> str:
    file_type = header.metadata.get("general.file_type")
    if isinstance(file_type, int) and file_type in FILE_TYPES:
        return FILE_TYPES[file_type]
    sizes: Counter[int] = Counter()
    for tensor in header.tensors:
        sizes[tensor.type] += tensor.n_elements
    return TENSOR_TYPES.get(sizes.most_common(1)[0][0], "") if sizes else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


class _Cursor:
    """Reads forward through a file, a chunk at a time, and never past its end."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        file.seek(0, os.SEEK_END)
        self._size = file.tell()
        file.seek(0)
        self._file = file
        self._path = path
        self._chunk = b""
        self._at = 0  # in the chunk
        self._start = 0  # of the chunk in the file

    def broken(self, why: str) -> BadRequest:
        return _broken(self._path, why)

    @property
    def position(self) -> int:
        """In the file."""
        return self._start + self._at

    @property
    def _left(self) -> int:
        return self._size - self._start - self._at

    def take(self, n: int) -> bytes:
        end = self._at + n
        if end > len(self._chunk):
            self._refill(n)
            end = n
        data = self._chunk[self._at : end]
        self._at = end
        return data

    def _refill(self, n: int) -> None:
        if n > self._left:
            raise self.broken("it ends in the middle of its header")
        self._start += self._at
        self._at = 0
        self._file.seek(self._start)
        self._chunk = self._file.read(max(n, CHUNK_BYTES))
        if len(self._chunk) < n:
            raise self.broken("it became shorter while it was read")

    def skip(self, n: int) -> None:
        if n > self._left:
            raise self.broken("it ends in the middle of its header")
        self._at += n
        if self._at > len(self._chunk):
            self._start += self._at
            self._at, self._chunk = 0, b""

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, code: str, *, smallest: int) -> int:
        """A number of things of at least `smallest` bytes each: more than fit in the file cannot be meant."""
        n: int = self.number(code)
        if n * smallest > self._left:
            raise self.broken(f"it claims {n:,} entries, more than it has room for")
        return n

    def text(self, *, limit: int | None = None) -> str:
        n = self.count("Q", smallest=1)
        if limit is not None and n > limit:
            raise self.broken(f"a key of {n:,} bytes")
        return self.take(n).decode("utf-8", "replace")

    def value(self, value_type: int, depth: int = 0) -> Any:
        if value_type == STRING:
            return self.text()
        if value_type == ARRAY:
            element, n = self._array_head(depth)
            if code := SCALARS.get(element):
                width = struct.calcsize("<" + code)
                return list(struct.unpack(f"<{n}{code}", self.take(n * width)))
            return [self.value(element, depth + 1) for _ in range(n)]
        return self.number(self._scalar(value_type))

    def skip_array(self, depth: int = 0) -> None:
        element, n = self._array_head(depth)
        if element == STRING:
            self._skip_texts(n)
        elif element == ARRAY:
            for _ in range(n):
                self.skip_array(depth + 1)
        else:
            self.skip(n * struct.calcsize("<" + self._scalar(element)))

    def _skip_texts(self, n: int) -> None:
        """A vocabulary has hundreds of thousands of them: those that begin in the chunk are passed over at once."""
        while n:
            at, last = self._at, len(self._chunk) - _LENGTH.size
            while n and at <= last:
                at += _LENGTH.size + _LENGTH.unpack_from(self._chunk, at)[0]
                n -= 1
            self.skip(at - self._at)
            if n:
                self.skip(self.number("Q"))
                n -= 1

    def _array_head(self, depth: int) -> tuple[int, int]:
        if depth >= MAX_DEPTH:
            raise self.broken("arrays are nested too deeply")
        element = self.number("I")
        smallest = {STRING: 8, ARRAY: 12}.get(element) or struct.calcsize("<" + self._scalar(element))
        return element, self.count("Q", smallest=smallest)

    def _scalar(self, value_type: int) -> str:
        if value_type not in SCALARS:
            raise self.broken(f"unknown value type {value_type}")
        return SCALARS[value_type]

    def tensor(self) -> Tensor:
        name = self.text(limit=MAX_KEY_BYTES)
        n_dimensions = self.number("I")
        if n_dimensions > MAX_DIMENSIONS:
            raise self.broken(f"tensor '{name[:80]}' has {n_dimensions} dimensions")
        shape = struct.unpack(f"<{n_dimensions}Q", self.take(8 * n_dimensions))
        type_, offset = struct.unpack("<IQ", self.take(12))
        return Tensor(name=name, shape=shape, type=type_, offset=offset)
