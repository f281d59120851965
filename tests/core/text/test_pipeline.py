"""Tokens on their way to deltas."""

from aiadmin_core.backend import Sampled
from aiadmin_core.dialects.reasoning.marked import MarkedReasoning
from aiadmin_core.specs.events import ReasoningDelta, TextDelta
from aiadmin_core.text.pipeline import TextPipeline

THINK = MarkedReasoning("think", "<think>", "</think>")


def pipeline(pieces, **options):
    """A pipeline and the tokens that stand for `pieces`."""
    raw = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    tokens = [Sampled(1, 0, index, -0.1 * (index + 1), ((index, -0.1),)) for index in range(len(raw))]
    return TextPipeline(lambda token: raw[token], **options), tokens


def deltas(pieces, **options):
    """What each token gives, and what is left at the end."""
    pipe, tokens = pipeline(pieces, **options)
    steps = []
    for token in tokens:
        pipe.feed(token)
        steps.append(pipe.take(1, 0))
    pipe.flush()
    return [*steps, pipe.take(1, 0)]


def logprob_tokens(step):
    return [[token.token for token in delta.logprobs] for delta in step]


def test_tokens_fed_between_two_takes_are_one_delta():
    pipe, tokens = pipeline(["a", "b", "c"])
    for token in tokens:
        pipe.feed(token)

    assert pipe.take(7, 2) == [TextDelta(7, "abc", 2)]
    assert pipe.take(7, 2) == []


def test_reasoning_and_answer_of_one_step_are_two_deltas():
    pipe, tokens = pipeline(["<think>", "hm", "</think>", "two"], parser=THINK.parser("", ()))
    for token in tokens:
        pipe.feed(token)

    assert pipe.take(1, 0) == [ReasoningDelta(1, "hm"), TextDelta(1, "two")]
    assert (pipe.n_tokens, pipe.n_reasoning_tokens) == (4, 3)


def test_stop_strings_do_not_apply_to_reasoning():
    pieces = ["<think>", "a STOP b", "</think>", "c", " STOP", " d"]
    steps = deltas(pieces, parser=THINK.parser("", ()), stops=("STOP",))

    assert [event for step in steps for event in step] == [
        ReasoningDelta(1, "a STOP b"),
        TextDelta(1, "c"),
        TextDelta(1, " "),
    ]


def test_log_probabilities_wait_for_the_text_of_their_tokens():
    steps = deltas(["a", "ST", "UV", "b"], stops=("STOP",), logprobs=True)

    assert [[delta.text for delta in step] for step in steps] == [["a"], [], ["STUV"], ["b"], []]
    assert [logprob_tokens(step) for step in steps] == [[[0]], [], [[1, 2]], [[3]], []]


def test_log_probabilities_of_half_a_character_come_with_the_whole():
    first, second = "é".encode()[:1], "é".encode()[1:]
    steps = deltas(["a", first, second], logprobs=True)

    assert [logprob_tokens(step) for step in steps] == [[[0]], [], [[1, 2]], []]


def test_tokens_of_a_stop_string_are_not_reported():
    steps = deltas(["one", " t", "wo ST", "OP", "no"], stops=("STOP",), logprobs=True)

    assert [[delta.text for delta in step] for step in steps] == [["one"], [" t"], ["wo "], [], [], []]
    assert [logprob_tokens(step) for step in steps] == [[[0]], [[1]], [[2]], [], [], []]


def test_held_text_comes_with_its_log_probabilities_at_the_end():
    *_, last = deltas(["a", "ST"], stops=("STOP",), logprobs=True)

    assert last[0].text == "ST"
    assert logprob_tokens(last) == [[1]]


def test_alternatives_are_reported_with_their_bytes():
    ((delta,), _) = deltas(["é"], logprobs=True)

    assert delta.logprobs[0].bytes == "é".encode()
    assert delta.logprobs[0].top[0].bytes == "é".encode()


def test_reasoning_keeps_its_own_log_probabilities():
    steps = deltas(["<think>", "hm", "</think>", "two"], parser=THINK.parser("", ()), logprobs=True)
    events = [event for step in steps for event in step]

    assert [t.token for e in events if isinstance(e, ReasoningDelta) for t in e.logprobs] == [0, 1, 2]
    assert [t.token for e in events if isinstance(e, TextDelta) for t in e.logprobs] == [3]


def test_nothing_counts_after_a_stop_string():
    pipe, tokens = pipeline(["a.", "b"], stops=(".",))
    for token in tokens:
        pipe.feed(token)
    pipe.flush()

    assert pipe.stop == "."
    assert pipe.n_tokens == 1
    assert pipe.take(1, 0) == [TextDelta(1, "a")]
