"""An answer as it arrives."""

from contextlib import nullcontext

from aiadmin_server.cli._answer import PrintedAnswer, report, show, visible


def chunk(text=None, finish=None, usage=None):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], "usage": usage}


def shown(*chunks):
    """The answer, and what was written and thought, in order."""
    seen: list[tuple[str, str]] = []
    answer = PrintedAnswer()
    show(
        chunks,
        answer,
        write=lambda text: seen.append(("write", text)),
        think=lambda text: seen.append(("think", text)),
        spinner=nullcontext(),
    )
    return answer, seen


def test_pieces_are_written_as_they_come():
    answer, seen = shown(chunk(""), chunk("Hel"), chunk("lo"), chunk(finish="stop"))

    assert seen == [("write", "Hel"), ("write", "lo")]
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")


def test_thinking_is_kept_apart_from_the_answer():
    thinking = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}]}

    answer, seen = shown(thinking, chunk("Yes"), chunk("."))

    assert seen == [("think", "hm"), ("think", "\n\n"), ("write", "Yes"), ("write", ".")]
    assert answer.text == "Yes."


def test_an_answer_that_never_ends_is_ended(capsys):
    """Thoughts count; a request with a limit of its own has none here."""
    read: list[int] = []

    def endless():
        for n in range(10**9):
            read.append(n)
            yield chunk("x" * 10)

    answer = PrintedAnswer()
    show(endless(), answer, write=lambda _: None, think=lambda _: None, spinner=nullcontext(), limit=95)

    assert (len(answer.text), len(read)) == (100, 10)
    assert answer.finish_reason == "length"
    assert "ended after 95 characters" in capsys.readouterr().err


def test_usage_arrives_in_a_chunk_without_choices():
    answer = PrintedAnswer()

    answer.add(chunk("x"), 1.0)
    answer.add({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}, 2.0)

    assert answer.usage == {"prompt_tokens": 3, "completion_tokens": 1}


def test_an_empty_answer_is_an_answer():
    answer, seen = shown(chunk(finish="stop"))

    assert (answer.text, seen) == ("", [])


def test_the_report_gives_first_token_and_speed(capsys):
    answer = PrintedAnswer(text="abc", finish_reason="stop", asked_at=1.0, first_at=1.5, last_at=2.5)
    answer.usage = {"prompt_tokens": 9, "completion_tokens": 11, "prompt_tokens_details": {"cached_tokens": 4}}

    report(answer)

    said = capsys.readouterr()
    assert said.out == ""
    assert "9 tokens, 4 of them cached" in said.err
    assert "0.50 s" in said.err
    assert "10.0 tokens/s" in said.err


def test_a_model_cannot_steer_the_terminal():
    assert visible("a\x1b[2Jb\x07\r\n\tc\x9b") == "a[2Jb\n\tc"
