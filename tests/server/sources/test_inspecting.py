"""What a pull looks at where no installed backend knows the format."""

import json
import struct
from pathlib import Path

import pytest

from aiadmin_core.errors import PullFailed
from aiadmin_server.sources.inspecting import inspect
from aiadmin_server.sources.local import LocalSource


def weights(data: bytes) -> bytes:
    header = json.dumps({"w": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        weights(b"1234567"),
        weights(b""),
        weights(b"")[:20],
        b"",
        b"GGUF",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 4) + b"[[[[",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 9) + b'{"w": 55}',
    ],
    ids=range(9),
)
def test_safetensors_that_are_cut_or_none_are_refused(tmp_path: Path, content: bytes):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(weights(b"12345678"))
    path = tmp_path / "b.safetensors"
    path.write_bytes(weights(b"12345678"))
    fetched = LocalSource().fetch(str(tmp_path), workdir=Path(), progress=lambda _: None)
    assert inspect(fetched, {}) is None
    path.write_bytes(content)
    with pytest.raises(PullFailed, match=r"'b\.safetensors' cannot be used: .* is no whole safetensors file"):
        inspect(fetched, {})
