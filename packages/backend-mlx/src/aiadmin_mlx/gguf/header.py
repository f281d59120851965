"""What a GGUF file says of itself. Read with the format's own package, once for each state of a file."""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import BadRequest

if TYPE_CHECKING:
    from gguf import GGUFReader

MAGIC = b"GGUF"
_BEGINNING = 256
_COUNTS_END = 24
_KEY = (20).to_bytes(8, "little") + b"general.architecture" + (8).to_bytes(4, "little")
ARCHITECTURES = frozenset({"llama"})
"""That are converted: of others nobody here knows how their tensors are laid out."""


def is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def architecture(path: Path) -> str:
    """Without the rest of the header, a vocabulary in most files, where it is the first key: writers put it there. ""
    for what cannot be read."""
    try:
        with path.open("rb") as file:
            return _first_value(file.read(_BEGINNING)) or info(path).architecture
    except (BadRequest, OSError):
        return ""


def _first_value(data: bytes) -> str:
    """Of `general.architecture`; "" where the first key is another. Behind magic, version and two counts, each key is
    its length, its bytes, the type of the value (8 is a text) and the value, of a text its length and its bytes."""
    begin = _COUNTS_END + len(_KEY)
    if data[:4] != MAGIC or data[_COUNTS_END:begin] != _KEY:
        return ""
    n = int.from_bytes(data[begin : begin + 8], "little")
    return data[begin + 8 : begin + 8 + n].decode("utf-8", "replace")


def info(path: Path) -> ModelInfo:
    """Raises `BadRequest` for a broken file, `OSError`."""
    status = path.stat()
    return _info(str(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _info(path: str, mtime_ns: int, size: int) -> ModelInfo:  # noqa: ARG001 - of the file's state
    reader = open_reader(Path(path))
    fields = read_fields(reader)
    name = str(fields.get("general.architecture", ""))

    def number(key: str) -> int:
        value = fields.get(f"{name}.{key}")
        return int(value) if isinstance(value, int) else 0

    kinds = [tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1]
    return ModelInfo(
        format="gguf",
        architecture=name,
        n_params=sum(int(tensor.n_elements) for tensor in reader.tensors),
        n_ctx_train=number("context_length"),
        n_embd=number("embedding_length"),
        quantization=max(set(kinds), key=kinds.count) if kinds else "",
        chat_template=fields.get("tokenizer.chat_template"),
        metadata=fields,
    )


def open_reader(path: Path) -> "GGUFReader":
    """Raises `BadRequest` for a broken file, `OSError`."""
    from gguf import GGUFReader  # with numpy: not for who only asks what backends there are

    if os.path.getsize(path) < 24:  # noqa: PTH202 - the reader maps the file, and cannot map nothing
        raise BadRequest(f"'{path.name}' is cut off.", hint="Fetch it again.")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, TypeError) as error:
        raise BadRequest(f"'{path.name}' is broken or cut off ({error}).", hint="Fetch it again.") from error


def read_fields(reader: "GGUFReader") -> Mapping[str, Any]:
    """Keys and values."""
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
