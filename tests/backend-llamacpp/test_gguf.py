"""Headers of GGUF files: good ones, and every way of being broken."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiadmin_core.errors import BadRequest
from aiadmin_llamacpp import gguf


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def string(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def strings(key: str, values: list[str]) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def tensor(name: str, shape: tuple[int, ...], kind: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)


def header(values: list[bytes], tensors: list[bytes], *, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values)) + b"".join(values + tensors)


GOOD = header(
    [
        string("general.architecture", "llama"),
        number("general.file_type", 15),
        number("llama.context_length", 4096),
        number("llama.embedding_length", 64),
        strings("tokenizer.ggml.tokens", ["a", "bc", ""]),
        string("tokenizer.chat_template", "{{ messages }}"),
    ],
    [tensor("token_embd.weight", (64, 100)), tensor("output_norm.weight", (64,))],
)


@pytest.fixture
def write(tmp_path):
    def write(data: bytes):
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        return path

    return write


def test_the_facts_of_a_header(write):
    info = gguf.model_info(gguf.read_header(write(GOOD)))

    assert (info.architecture, info.n_ctx_train, info.n_embd) == ("llama", 4096, 64)
    assert info.n_params == 64 * 100 + 64
    assert info.quantization == "Q4_K_M"
    assert info.chat_template == "{{ messages }}"


def test_arrays_are_read_only_when_asked_for(write):
    path = write(GOOD)

    assert "tokenizer.ggml.tokens" not in gguf.read_header(path).metadata
    assert gguf.read_header(path, arrays={"tokenizer.ggml.tokens"}).metadata["tokenizer.ggml.tokens"] == ["a", "bc", ""]


def test_without_a_file_type_the_commonest_tensor_type_is_named(write):
    path = write(header([], [tensor("big", (1000,), 8), tensor("small", (10,), 0)]))

    assert gguf.model_info(gguf.read_header(path)).quantization == "Q8_0"


def test_values_of_the_wrong_type_count_as_absent(write):
    path = write(header([number("general.architecture", 3), string("general.file_type", "x")], []))

    info = gguf.model_info(gguf.read_header(path))

    assert (info.architecture, info.quantization, info.n_ctx_train) == ("", "", 0)


def test_what_the_gguf_package_writes_can_be_read(tmp_path):
    """The reference implementation's writer, all value types."""
    from gguf import GGUFWriter

    path = tmp_path / "written.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint8("u8", 1)
    writer.add_int64("i64", -5)
    writer.add_float64("f64", 0.5)
    writer.add_bool("yes", True)
    writer.add_array("numbers", [1, 2, 3])
    writer.add_tensor("t", np.zeros((3, 5), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    read = gguf.read_header(path, arrays={"numbers"})

    assert {key: read.metadata[key] for key in ("u8", "i64", "f64", "yes", "numbers")} == {
        "u8": 1,
        "i64": -5,
        "f64": 0.5,
        "yes": True,
        "numbers": [1, 2, 3],
    }
    assert [(one.name, one.n_elements) for one in read.tensors] == [("t", 15)]


HUGE = 1 << 62
BROKEN = {
    "other file": b"PK\x03\x04" + bytes(100),
    "empty": b"",
    "only magic": b"GGUF",
    "version 1": header([], [], version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "too many values": b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE),
    "too many tensors": b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0),
    "huge key": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", HUGE) + bytes(32),
    "huge string": header([text("k") + struct.pack("<IQ", 8, HUGE)], []),
    "huge array": header([text("k") + struct.pack("<IIQ", 9, 0, HUGE)], []),
    "unknown type": header([text("key of some length") + struct.pack("<I", 77)], []),
    "unknown element": header([text("k") + struct.pack("<IIQ", 9, 77, 1) + bytes(16)], []),
    "deep nesting": header([text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50 + bytes(99)], []),
    "nine dimensions": header([], [tensor("t", (1,) * 9)]),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_header_is_refused_by_name(write, data):
    with pytest.raises(BadRequest, match=r"'model\.gguf' is not a readable GGUF file"):
        gguf.read_header(write(data))


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_a_header_cut_anywhere_is_refused(write, length):
    with pytest.raises(BadRequest):
        gguf.read_header(write(GOOD[:length]))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, len(GOOD) - 1), garbage=st.binary(min_size=1, max_size=12))
def test_damage_never_costs_more_than_a_refusal(write, position, garbage):
    """No other exception, no endless loop, no gigabytes."""
    path = write(GOOD[:position] + garbage + GOOD[position + len(garbage) :])
    with contextlib.suppress(BadRequest):
        gguf.model_info(gguf.read_header(path))


@pytest.mark.real_model
def test_the_real_model(smollm2_gguf):
    info = gguf.model_info(gguf.read_header(smollm2_gguf))

    assert (info.architecture, info.n_params, info.quantization) == ("llama", 134_515_008, "Q4_1")
    assert (info.n_ctx_train, info.n_embd) == (8192, 576)
    assert "<|im_start|>" in (info.chat_template or "")


def test_a_file_is_whole_only_with_the_data_of_its_tensors(write):
    """The header's offsets show where it was cut."""
    size = 64 * 100 * 4  # both tensors are at 0
    data = -(-len(GOOD) // 32) * 32
    whole = GOOD + b"\0" * (data - len(GOOD) + size)
    assert gguf.read_whole(write(whole)).n_bytes == len(whole)
    for length in (len(GOOD), data + 1, len(whole) - 1):
        with pytest.raises(BadRequest, match=f"it has {length:,} bytes, and its tensors need {len(whole):,}"):
            gguf.read_whole(write(whole[:length]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_real_file_cut_in_the_middle_is_refused(smollm2_gguf, tmp_path, share):
    from aiadmin_llamacpp.backend import LlamaBackend

    path = tmp_path / "cut.gguf"
    with smollm2_gguf.open("rb") as whole:
        path.write_bytes(whole.read(int(smollm2_gguf.stat().st_size * share)))
    with pytest.raises(BadRequest, match="its tensors need"):
        LlamaBackend().inspect(path)
    assert LlamaBackend().inspect(smollm2_gguf) is not None


def test_blocks_have_the_sizes_that_the_gguf_package_knows():
    from gguf import GGML_QUANT_SIZES

    assert {int(kind): size for kind, size in GGML_QUANT_SIZES.items() if int(kind) in gguf.BLOCKS} == gguf.BLOCKS


def test_the_sampling_a_file_recommends_is_read(write):
    def value(key: str, kind: int, packed: bytes) -> bytes:
        return text(f"general.sampling.{key}") + struct.pack("<I", kind) + packed

    values = [
        value("temp", 6, struct.pack("<f", 0.6)),
        value("top_k", 5, struct.pack("<i", 20)),
        value("top_p", 8, text("0.95")),  # no number
        value("min_p", 6, struct.pack("<f", float("nan"))),
    ]
    info = gguf.model_info(gguf.read_header(write(header(values, []))))
    assert info.parameters == {"temperature": 0.6, "top_k": 20}
