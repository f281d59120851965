import pytest

from aiadmin_openai.failures import StreamBroken
from aiadmin_openai.sse import MAX_BUFFER, EventStreamReader

STREAM = ': ping\r\n\r\nevent: x\ndata: {"a": "ä\u2028"}\n\ndata: one\ndata:two\n\ndata: [DONE]\n\n'.encode()
EVENTS = ['{"a": "ä\u2028"}'.encode(), b"one\ntwo", b"[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_whole_however_the_bytes_arrive(size: int) -> None:
    """A line separator inside JSON is no end of line; comments and other fields are skipped."""
    reader = EventStreamReader()

    found = [data for i in range(0, len(STREAM), size) for data in reader.feed(STREAM[i : i + size])]

    assert found == EVENTS


def test_a_last_event_without_its_empty_line_counts() -> None:
    reader = EventStreamReader()

    assert reader.feed(b"data: one\n\ndata: two") == [b"one"]
    assert reader.end() == [b"two"]


def test_an_event_without_end_is_refused() -> None:
    with pytest.raises(StreamBroken):
        EventStreamReader().feed(b"data: " + b"x" * MAX_BUFFER)
