"""An answer as it arrives."""

from contextlib import nullcontext

import pytest

from aiadmin_server.cli._answer import Answer, report, show, visible


def chunk(text=None, finish=None, usage=None):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], "usage": usage}


def test_pieces_are_written_as_they_come():
    written: list[str] = []
    answer = Answer()

    show(
        [chunk(""), chunk("Hel"), chunk("lo"), chunk(finish="stop")],
        answer,
        write=written.append,
        spinner=nullcontext(),
    )

    assert written == ["Hel", "lo", ""]
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")


def test_usage_arrives_in_a_chunk_without_choices():
    answer = Answer()

    answer.add(chunk("x"), 1.0)
    answer.add({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}, 2.0)

    assert answer.usage == {"prompt_tokens": 3, "completion_tokens": 1}


def test_an_empty_answer_is_an_answer():
    answer = Answer()

    show([chunk(finish="stop")], answer, write=pytest.fail, spinner=nullcontext())

    assert answer.text == ""


def test_the_report_gives_first_token_and_speed(capsys):
    answer = Answer(text="abc", finish_reason="stop", asked_at=1.0, first_at=1.5, last_at=2.5)
    answer.usage = {"prompt_tokens": 9, "completion_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}}

    report(answer)

    said = capsys.readouterr()
    assert said.out == ""
    assert "9 tokens, 4 of them cached" in said.err
    assert "0.50 s" in said.err
    assert "10.0 tokens/s" in said.err


def test_a_model_cannot_steer_the_terminal():
    assert visible("a\x1b[2Jb\x07\r\n\tc\x9b") == "a[2Jb\n\tc"
