"""Frames cut out of a stream of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.runner.frames import REPLIES, Deframer, FrameTooLarge, encode
from aiadmin_core.runner.messages import Events, Heartbeat, Hello
from aiadmin_core.specs.events import Finished, TextDelta


def payloads(*messages):
    return Deframer().feed(bytes(encode(*messages)))


def test_messages_survive_the_wire():
    events = Events((TextDelta(1, "né", choice=2), Finished(1, "stop")))
    assert [REPLIES.decode(payload) for payload in payloads(events, Heartbeat())] == [events, Heartbeat()]


@given(texts=st.lists(st.text(max_size=50), max_size=5), cuts=st.lists(st.integers(min_value=1, max_value=40)))
def test_where_the_bytes_are_cut_does_not_matter(texts, cuts):
    data = bytes(encode(*(Events((TextDelta(1, text),)) for text in texts)))
    deframer = Deframer()
    got = []
    for cut in cuts:
        got += deframer.feed(data[:cut])
        data = data[cut:]
    got += deframer.feed(data)
    assert [REPLIES.decode(payload).events[0].text for payload in got] == texts
    assert deframer.n_pending == 0


def test_a_frame_that_is_announced_too_long_is_refused_by_its_header():
    with pytest.raises(FrameTooLarge, match="4294967295 bytes exceeds the limit of 67108864 bytes"):
        Deframer().feed(b"\xff\xff\xff\xff")


def test_the_limit_itself_is_allowed():
    payload = b"x" * 10
    assert Deframer(limit=10).feed((10).to_bytes(4, "big") + payload) == [payload]
    with pytest.raises(FrameTooLarge):
        Deframer(limit=9).feed((10).to_bytes(4, "big") + payload)


def test_a_message_that_is_too_long_is_not_sent():
    with pytest.raises(FrameTooLarge, match="exceeds the limit of 16 bytes"):
        encode(Events((TextDelta(1, "x" * 100),)), limit=16)


def test_a_frame_in_the_middle_is_pending():
    deframer = Deframer()
    assert deframer.feed(bytes(encode(Heartbeat()))[:-1]) == []
    assert deframer.n_pending > 0


def test_what_a_newer_peer_adds_is_ignored_and_what_an_older_one_lacks_has_a_default():
    assert REPLIES.decode(bytes(encode(["closed", 5, "a field of the future"])[4:])).request_id == 5
    assert REPLIES.decode(bytes(encode(["hello", 1, "0.1"])[4:])) == Hello(version=1, software="0.1")
