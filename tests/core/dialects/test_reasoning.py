"""What a model thinks is told apart from what it answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.dialects.dialect import Thought
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.dialects.reasoning.marked import MarkedReasoning
from aiadmin_core.text.chat_template import ChatTemplate

THINK = MarkedReasoning("think", "<think>", "</think>")


def split(pieces, prompt_tail=""):
    parser = THINK.parser(prompt_tail, ())
    told = [piece for text in pieces for piece in parser.feed(text)] + parser.end("")
    return {
        "reasoning": "".join(piece.text for piece in told if isinstance(piece, Thought)),
        "answer": "".join(piece for piece in told if isinstance(piece, str)),
    }


@pytest.mark.parametrize("cut", [list, lambda text: [text]])
def test_the_block_at_the_beginning_is_reasoning(cut):
    assert split(cut("<think>\nHm, 2.\n</think>\n\nTwo.")) == {"reasoning": "Hm, 2.", "answer": "Two."}


@pytest.mark.parametrize("cut", [list, lambda text: [text]])
def test_a_block_that_the_prompt_opened_is_closed_by_the_model(cut):
    assert split(cut("Hm.\n</think>\nTwo."), "<|assistant|><think>\n") == {"reasoning": "Hm.", "answer": "Two."}


def test_a_model_that_does_not_think_only_answers():
    assert split(["Two."]) == {"reasoning": "", "answer": "Two."}


def test_white_space_before_an_answer_without_reasoning_is_kept():
    assert split(["\n", "  x"]) == {"reasoning": "", "answer": "\n  x"}


def test_markers_inside_an_answer_are_text():
    answer = "Use <think> and </think>."
    assert split(list(answer)) == {"reasoning": "", "answer": answer}


def test_a_prompt_that_switched_thinking_off_leaves_markers_alone():
    assert split(["<think>"], "<think>\n\n</think>\n\n") == {"reasoning": "", "answer": "<think>"}


def test_reasoning_that_is_never_closed_stays_reasoning():
    assert split(["<think>Hm. </thi"]) == {"reasoning": "Hm. </thi", "answer": ""}


def test_an_answer_that_only_begins_like_a_marker_is_given_out():
    assert split(["<thi"]) == {"reasoning": "", "answer": "<thi"}
    assert split(["<thi", "rd>"]) == {"reasoning": "", "answer": "<third>"}


def test_the_parser_knows_when_the_model_thinks():
    parser = THINK.parser("", ())
    states = []
    for text in ("<think>", "Hm", "</think>", "Two"):
        parser.feed(text)
        states.append(parser.reasoning)

    assert states == [True, True, False, False]


@given(st.text("<think/> \nab", max_size=60), st.lists(st.integers(1, 6)), st.sampled_from(["", "<think>\n"]))
def test_cutting_the_text_changes_nothing(text, sizes, tail):
    pieces, rest = [], text
    while rest:
        size = sizes.pop() if sizes else 1
        pieces.append(rest[:size])
        rest = rest[size:]

    assert split(pieces, tail) == split([text], tail)


@pytest.mark.parametrize(
    ("template", "name"),
    [("<think>..</think>", "think"), ("[THINK] [/THINK]", "mistral"), ("no such thing", None)],
)
def test_a_dialect_is_recognised_by_the_chat_template(template, name):
    found = find_speech(ChatTemplate("{# " + template + " #}"), OURS).reasoning
    assert (found and found.name) == name
