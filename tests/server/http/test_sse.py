"""Frames of both kinds of stream."""

import json

import msgspec
import pytest

from aiadmin_server.http import ndjson, sse


class Item(msgspec.Struct):
    number: int


def test_a_frame_is_a_data_line_perhaps_with_a_name():
    assert sse.frame(Item(1)) == b'data: {"number":1}\n\n'
    assert sse.frame({"text": "a\nb"}, event="delta") == b'event: delta\ndata: {"text":"a\\nb"}\n\n'


def test_a_line_is_one_object():
    assert ndjson.frame(Item(1)) + ndjson.frame({"text": "a\nb"}) == b'{"number":1}\n{"text":"a\\nb"}\n'


@pytest.mark.parametrize("frame", [sse.frame, ndjson.frame])
@pytest.mark.parametrize("mark", [*"\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", "\r\n"])
def test_no_client_finds_a_line_break_inside_a_frame(frame, mark):
    """However it tells lines apart: at `\\n`, as the standard says, or as Unicode does."""
    text = f"ä{mark}b€{mark}"
    framed = frame({"text": text}).decode()
    line, *rest = framed.splitlines()
    assert rest in ([], [""])
    assert json.loads(line.removeprefix("data: ")) == {"text": text}
