"""One choice's constraint as the engine meets it."""

import json
import string

import numpy as np
import pytest

from aiadmin_core.constraint.compiler import ConstraintCompiler
from aiadmin_core.constraint.matcher import token_bits
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.dialects.reasoning.marked import MarkedReasoning
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import Choice, JsonObject, JsonSchema, Regex
from aiadmin_core.testing.fake import END, ByteTokenizer

THINK = MarkedReasoning("think", "<think>", "</think>")


def matcher(constraint, *, dialect=None, tail="", tokenizer=None):
    tokenizer = tokenizer or ByteTokenizer()
    before = dialect.before_answer(tail, tokenizer.control_tokens) if dialect else None
    (made,) = ConstraintCompiler(tokenizer).matchers(AnswerShape(format=constraint), 1, before)
    return made


def allowed(made):
    mask = made.mask()
    return {token for token in range(len(mask) * 32) if int(mask[token // 32]) >> (token % 32) & 1}


def commit(made, text):
    for byte in text.encode():
        assert byte in allowed(made), f"{chr(byte)!r} is not allowed"
        made.commit(byte)


SPACE = {ord(" "), ord("\n")}
"""May stand around a block of reasoning."""


def test_a_mask_holds_the_tokens_that_may_come_next():
    made = matcher(Choice(("ab", "ac", "x")))
    assert allowed(made) == {ord("a"), ord("x")}

    made.commit(ord("a"))
    assert allowed(made) == {ord("b"), ord("c")}


def test_a_mask_is_int32_and_covers_the_vocabulary():
    mask = matcher(Regex("a")).mask()

    assert mask.dtype == np.int32
    assert mask.shape == ((ByteTokenizer().n_vocab + 31) // 32,)


def test_the_end_is_allowed_exactly_where_the_grammar_can_end():
    made = matcher(Regex("ab*"))
    assert END not in allowed(made)

    made.commit(ord("a"))
    assert allowed(made) == {ord("b"), END}


@pytest.mark.parametrize(
    ("pattern", "characters"),
    [
        (r"\d", "0123456789"),
        (r"[\d.]", ".0123456789"),
        (r"[^\D]", "0123456789"),
        (r"[\Da]", None),
        (r"\\d", "\\"),
        (r"[\w-]", "-_0123456789" + string.ascii_letters),
    ],
)
def test_digits_and_letters_are_those_that_people_type(pattern, characters):
    """As in JavaScript: Unicode has hundreds of digits, and a small model is drawn to odd ones."""
    for constraint in (Regex(pattern), JsonSchema(schema={"type": "string", "pattern": f"^{pattern}$"})):
        made = matcher(constraint)
        if isinstance(constraint, JsonSchema):
            commit(made, '"')
        if characters is None:
            assert ord("0") not in allowed(made)
            assert {ord("a"), ord("x")} <= allowed(made)
        elif constraint == Regex(pattern):
            assert allowed(made) == {ord(character) for character in characters}
        else:
            assert max(allowed(made)) < 128


def test_after_the_grammar_is_complete_only_the_end_is_allowed():
    made = matcher(JsonObject())
    commit(made, '{"a": 1}')

    assert allowed(made) == {END}
    made.commit(END)
    assert allowed(made) == {END}


def test_every_end_token_ends_the_answer():
    tokenizer = ByteTokenizer()
    tokenizer.end_tokens = frozenset({END, END + 1})
    made = matcher(Regex("a"), tokenizer=tokenizer)
    commit(made, "a")

    assert allowed(made) == {END, END + 1}


def test_control_tokens_are_no_text():
    assert max(allowed(matcher(Regex(r"(?s:.*)")))) == END


def test_choices_of_one_request_do_not_share_a_state():
    first, second = ConstraintCompiler(ByteTokenizer()).matchers(AnswerShape(format=Regex("ab")), 2)
    first.commit(ord("a"))

    assert allowed(first) == {ord("b")}
    assert allowed(second) == {ord("a")}


def test_a_token_outside_the_grammar_breaks_the_choice():
    made = matcher(Regex("ab"))
    made.commit(ord("x"))

    with pytest.raises(BadRequest, match="enforced"):
        made.mask()


def test_reasoning_that_the_prompt_opened_is_free_and_cannot_be_the_end():
    made = matcher(JsonObject(), dialect=THINK, tail="<think>\n")

    assert {0, ord("x"), ord("<")} <= allowed(made)
    assert END not in allowed(made)
    commit(made, "some { thought </think>")
    assert allowed(made) == {ord("{"), *SPACE}


def test_a_model_may_open_its_reasoning_itself():
    tokenizer = ByteTokenizer(more_control_tokens=["<think>", "</think>"])
    made = matcher(JsonObject(), dialect=THINK, tokenizer=tokenizer)
    start, end = tokenizer.control_tokens["<think>"], tokenizer.control_tokens["</think>"]

    assert allowed(made) == {ord("{"), start, end, *SPACE}
    made.commit(start)
    assert {ord("x"), end} <= allowed(made)
    made.commit(ord("x"))
    made.commit(end)
    assert allowed(made) == {ord("{"), *SPACE}


def test_a_model_that_answers_at_once_is_kept_to_the_grammar():
    tokenizer = ByteTokenizer(more_control_tokens=["<think>", "</think>"])
    made = matcher(JsonObject(), dialect=THINK, tokenizer=tokenizer)
    commit(made, "{")

    assert tokenizer.control_tokens["<think>"] not in allowed(made)
    assert ord("}") in allowed(made)


def test_a_prompt_that_switched_thinking_off_leaves_no_way_in():
    tokenizer = ByteTokenizer(more_control_tokens=["<think>", "</think>"])
    made = matcher(JsonObject(), dialect=THINK, tail="<think>\n\n</think>\n\n", tokenizer=tokenizer)

    assert allowed(made) == {ord("{")}


def test_a_draft_is_committed_as_far_as_the_grammar_goes():
    made = matcher(Regex("abc+"))

    assert made.try_commit(b"abx") == 2
    assert allowed(made) == {ord("c")}
    assert made.try_commit([ord("c"), END, ord("c")]) == 1
    assert allowed(made) == {ord("c"), END}


def test_what_was_committed_is_taken_back_over_the_end_too():
    made = matcher(Choice(("ab", "ac")))
    commit(made, "ab")
    made.commit(END)
    assert allowed(made) == {END}

    made.rollback(1)
    assert allowed(made) == {END}
    made.rollback(1)
    assert allowed(made) == {ord("b"), ord("c")}
    commit(made, "c")
    made.rollback(2)
    assert allowed(made) == {ord("a")}


def test_a_draft_that_crosses_the_end_of_the_reasoning_is_taken_back_to_where_it_was():
    tokenizer = ByteTokenizer(more_control_tokens=["<think>", "</think>"])
    made = matcher(JsonObject(), dialect=THINK, tokenizer=tokenizer)
    start, end = tokenizer.control_tokens["<think>"], tokenizer.control_tokens["</think>"]
    draft = [start, ord("x"), end, ord("{"), ord("}"), ord("?")]

    assert made.try_commit(draft) == 5
    assert allowed(made) == {END}
    made.rollback(2)
    assert allowed(made) == {ord("{"), *SPACE}
    made.rollback(1)
    assert {ord("x"), end} <= allowed(made)
    assert made.try_commit([ord("y"), END]) == 1
    made.rollback(3)
    assert allowed(made) == {ord("{"), start, end, *SPACE}


@pytest.mark.filterwarnings("ignore:llama_token_get_attr is deprecated:DeprecationWarning")  # llguidance calls it
def test_it_works_on_a_real_vocabulary(smollm2_tokenizer):
    made = matcher(JsonObject(), tokenizer=smollm2_tokenizer)
    for token in smollm2_tokenizer.encode('{"name": "Ada", "born": 1815}', special=False):
        assert token in allowed(made)
        made.commit(token)

    assert allowed(made) == set(smollm2_tokenizer.end_tokens)


def test_bits_are_where_the_engine_looks_for_them():
    assert token_bits(frozenset({0, 31, 32}), 40).tolist() == [-(2**31) + 1, 1]


class Merging(ByteTokenizer):
    """Some tokens of several bytes beside the single ones, as real vocabularies have them."""

    def __init__(self, *pieces):
        super().__init__(more_control_tokens=[f"<unused{i}>" for i in range(len(pieces))])
        self.merged = {piece: self.control_tokens[f"<unused{i}>"] for i, piece in enumerate(pieces)}
        self.control_tokens = {text: t for text, t in self.control_tokens.items() if t not in self.merged.values()}

    def piece(self, token):
        return next((piece.encode() for piece, t in self.merged.items() if t == token), super().piece(token))

    def constraint_vocabulary(self):
        from llguidance import LLTokenizer, TokenizerWrapper

        class Vocabulary:
            eos_token_id, bos_token_id = END, None
            tokens = [self.piece(token) for token in range(self.n_vocab)]
            special_token_ids = list(self.control_tokens.values())
            __call__ = staticmethod(lambda text: list(text if isinstance(text, bytes) else text.encode()))

        return LLTokenizer(TokenizerWrapper(Vocabulary()), n_vocab=self.n_vocab, eos_token=[END])


@pytest.mark.parametrize("end", ['</think>{"', 'k>{"a', ">{"])
def test_what_follows_the_reasoning_in_the_same_token_is_the_answers_beginning(end):
    """Or else the JSON would begin a second time."""
    tokenizer = Merging(end)
    made = matcher(JsonObject(), dialect=THINK, tail="<think>", tokenizer=tokenizer)
    marker, answer = end.split("{")
    commit(made, "hm " + "</think>"[: len("</think>") - len(marker)])
    assert tokenizer.merged[end] in allowed(made)
    made.commit(tokenizer.merged[end])
    commit(made, ('{"a": 1}')[1 + len(answer) :])

    assert allowed(made) == {END}


@pytest.mark.parametrize("end", ["</think>x", "k> and", ">]"])
def test_a_token_that_ends_the_reasoning_and_begins_no_answer_cannot_come(end):
    tokenizer = Merging(end)
    made = matcher(JsonObject(), dialect=THINK, tail="<think>", tokenizer=tokenizer)
    commit(made, "hm " + "</think>"[: len("</think>") - end.index(">") - 1])

    assert tokenizer.merged[end] not in allowed(made)
    assert ord("a") in allowed(made)


def test_half_a_marker_is_still_reasoning():
    made = matcher(JsonObject(), dialect=THINK, tail="<think>")
    commit(made, "</thin </thi</think>")

    assert allowed(made) == {ord("{"), *SPACE}


def test_a_token_that_opens_the_reasoning_may_hold_its_first_words():
    tokenizer = Merging("<think>\nOkay")
    made = matcher(JsonObject(), dialect=THINK, tokenizer=tokenizer)
    made.commit(tokenizer.merged["<think>\nOkay"])
    commit(made, ", so</think>{")

    assert END not in allowed(made)


PROFILE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "likes": {"type": "array"}, "age": {"type": "integer"}},
    "required": ["name", "likes", "age"],
    "additionalProperties": False,
}


def limited(schema, limit, *, dialect=None, tail=""):
    tokenizer = ByteTokenizer()
    before = dialect.before_answer(tail, dict(tokenizer.control_tokens)) if dialect else None
    shape = AnswerShape(format=JsonSchema(schema=schema))
    (made,) = ConstraintCompiler(tokenizer).matchers(shape, 1, before, limit=limit)
    return made


def running_on(made, begin, limit, pick):
    """What is written by who would write on for ever, and how it ended."""
    commit(made, begin)
    written = bytearray(begin.encode())
    while len(written) < limit:
        allowed_now = allowed(made)
        if allowed_now == {END}:
            return written.decode(), made.closed
        token = pick(allowed_now - {END})
        made.commit(token)
        written.append(token)
    return None, made.closed


@pytest.mark.parametrize(
    ("begin", "character"),
    [('{"name": "', "x"), ('{"name": "', "}"), ('{"name": "a", "likes": [1', "1"), ('{"name": "a", "likes": ["', "b")],
)
def test_json_that_runs_on_comes_to_its_end_before_the_limit(begin, character):
    def pick(tokens):
        return ord(character) if ord(character) in tokens else min(tokens)

    text, closed = running_on(limited(PROFILE, 400), begin, 400, pick)

    assert closed
    document = json.loads(text)
    assert list(document) == ["name", "likes", "age"]
    assert len(text) > 340


def test_what_ends_by_itself_is_not_closed():
    made = limited(PROFILE, 400)
    commit(made, '{"name": "a", "likes": [], "age": 3}')

    assert allowed(made) == {END}
    assert not made.closed


def test_thoughts_are_not_hurried():
    made = limited(PROFILE, 16, dialect=THINK, tail="<think>")
    commit(made, "a thought that is longer than the limit")

    assert {ord("x"), ord("\n"), ord('"')} <= allowed(made)
    assert not made.closed
