"""Core's events to text completions."""

import pytest

from aiadmin_core.specs.events import Finished, PromptScored, PromptToken, ReasoningDelta, TextDelta, TokenLogprob
from aiadmin_server.apis.openai.completions.from_core import TextWriter
from aiadmin_server.apis.openai.streaming import Head

HEAD = Head(id="x", created=1, model="m", system_fingerprint="fp")


def test_a_completion_has_one_text_thoughts_included():
    events = [ReasoningDelta(1, "a"), TextDelta(1, "b"), Finished(1, "stop")]
    assert TextWriter(HEAD, echo=["p"], n=1, include_usage=False).whole(events).choices[0].text == "pab"


def told(writer, events, *, stream):
    """Text, and offset of each token, of every choice."""
    bodies = [chunk for event in events for chunk in writer.chunks(event)] if stream else [writer.whole(events)]
    choices = [choice for body in bodies for choice in body.choices]
    texts, offsets = {}, {}
    for choice in choices:
        texts[choice.index] = texts.get(choice.index, "") + choice.text
        offsets.setdefault(choice.index, []).extend(choice.logprobs.text_offset if choice.logprobs else [])
    return texts, offsets


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 99])
@pytest.mark.parametrize(("asked", "front"), [("ü 🙂b", "<s>"), (" ü 🙂b", ""), ("ü 🙂b", "<s> "), (None, "")])
def test_offsets_count_characters_however_the_prompt_is_cut(stream, size, asked, front):
    """A token for each byte, in pieces of `size` tokens, for two prompts of two choices."""
    written = "ü 🙂b" if asked is None else asked
    heads = [PromptToken(0, front.encode())] if front else []
    tokens = [*heads, *(PromptToken(1, bytes([byte]), -1.0) for byte in written.encode())]
    answer = [TokenLogprob(2, bytes([byte]), -1.0) for byte in "é".encode()]
    events = []
    for request, first in ((1, 0), (2, 2)):
        pieces = [tuple(tokens[at : at + size]) for at in range(0, len(tokens), size)]
        events += [PromptScored(request, piece, first) for piece in pieces]
        for choice in (first, first + 1):
            events += [TextDelta(request, "é", choice, tuple(answer)), Finished(request, "stop", choice=choice)]

    writer = TextWriter(HEAD, echo=[asked, asked], n=2, include_usage=False, scored=True)
    texts, offsets = told(writer, events, stream=stream)

    n = len(written)
    starts = [len(written.encode()[:at].decode(errors="ignore")) for at in range(len(written.encode()))]
    assert texts == dict.fromkeys(range(4), written + "é")
    assert all(found == [*[0] * len(heads), *starts, n, n] for found in offsets.values())
