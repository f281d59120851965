"""Core's events to text completions."""

from aiadmin_core.specs.events import Finished, ReasoningDelta, TextDelta
from aiadmin_server.apis.openai.completions.from_core import TextWriter
from aiadmin_server.apis.openai.streaming import Head

HEAD = Head(id="x", created=1, model="m", system_fingerprint="fp")


def test_a_completion_has_one_text_thoughts_included():
    events = [ReasoningDelta(1, "a"), TextDelta(1, "b"), Finished(1, "stop")]
    assert TextWriter(HEAD, echo=["p"], include_usage=False).whole(events).choices[0].text == "pab"
