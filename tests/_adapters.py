"""Makes LoRA adapters and models that have them merged, out of the GGUFs at hand. Needs numpy and gguf, no backend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

Matrix = np.ndarray[Any, Any]


def low_rank(n_out: int, n_in: int, *, seed: int, rank: int = 2, size: float = 1.0) -> tuple[Matrix, Matrix]:
    """Random A (rank, n_in) and B (n_out, rank)."""
    random = np.random.default_rng(seed)
    a = random.standard_normal((rank, n_in)) / n_in**0.5
    b = random.standard_normal((n_out, rank)) * size
    return a.astype(np.float32), b.astype(np.float32)


def write_adapter(path: Path, pairs: Mapping[str, tuple[Matrix, Matrix]], *, alpha: float) -> None:
    """A LoRA adapter of a llama as a GGUF: what it adds is scaled by `alpha` over the rank."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    _write(writer)


def rewrite(source: Path, path: Path, tensors: Mapping[str, Matrix]) -> None:
    """The model in `source` with `tensors` (float32) in the place of its own."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            kind = field.types[0]
            writer.add_key_value(name, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
    for tensor in reader.tensors:
        if tensor.name in tensors:
            writer.add_tensor(tensor.name, tensors[tensor.name])
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    _write(writer)


def weights(source: Path, name: str) -> Matrix:
    """A tensor of a GGUF as float32 (n_out, n_in)."""
    tensor = next(tensor for tensor in gguf.GGUFReader(source).tensors if tensor.name == name)
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
