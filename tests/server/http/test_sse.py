"""Frames of both kinds of stream."""

import msgspec

from aiadmin_server.http import ndjson, sse


class Item(msgspec.Struct):
    number: int


def test_a_frame_is_a_data_line_perhaps_with_a_name():
    assert sse.frame(Item(1)) == b'data: {"number":1}\n\n'
    assert sse.frame({"text": "a\nb"}, event="delta") == b'event: delta\ndata: {"text":"a\\nb"}\n\n'


def test_a_line_is_one_object():
    assert ndjson.frame(Item(1)) + ndjson.frame({"text": "a\nb"}) == b'{"number":1}\n{"text":"a\\nb"}\n'
