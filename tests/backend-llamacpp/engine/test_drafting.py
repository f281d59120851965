"""What a draft model is asked, and what becomes of its context. The model is one that counts."""

import numpy as np
import pytest

from aiadmin_llamacpp.engine.drafting import DraftModel, Key
from aiadmin_llamacpp.native.context import OutOfCells

N_VOCAB = 1000


class Counting:
    """A context whose model takes the number after the last one for the next token."""

    def __init__(self, n_batch=16, n_cells=10_000):
        self.n_batch, self.n_vocab = n_batch, N_VOCAB
        self.held: dict[int, list[int]] = {}
        self.steps: list[int] = []
        self.n_cells = n_cells

    def decode(self, batch):
        n = batch.n_tokens
        if n + sum(map(len, self.held.values())) > self.n_cells:
            raise OutOfCells
        self.steps.append(n)
        self._rows = []
        for token, position, sequence, wanted in zip(
            batch._tokens[:n], batch._positions[:n], batch._sequences[:n], batch._wants_logits[:n], strict=True
        ):
            held = self.held.setdefault(int(sequence), [])
            assert position == len(held), "positions follow each other"
            held.append(int(token))
            if wanted:
                self._rows.append((int(token) + 1) % N_VOCAB)

    def logits(self, n_rows):
        rows = np.zeros((n_rows, N_VOCAB), np.float32)
        rows[np.arange(n_rows), self._rows] = 1
        return rows

    def set_threads(self, n_threads):
        self.n_threads = n_threads

    def share(self, source, target, end):
        assert not self.held.get(target)
        self.held[target] = self.held[source][:end]

    def trim(self, sequence, start):
        del self.held.get(sequence, [])[start:]
        return True

    def clear(self):
        self.held.clear()


def tokens(*numbers):
    return np.array(numbers, np.int32)


@pytest.fixture
def context():
    return Counting()


@pytest.fixture
def draft(context):
    return DraftModel(context, n_places=3, n_vocab=N_VOCAB, n_threads=lambda: 2)


A, B, C, D = Key("", 1, 0), Key("", 2, 0), Key("", 2, 1), Key("", 3, 0)


def test_it_guesses_what_its_model_takes_to_be_next(draft, context):
    assert draft.guess({A: (tokens(7, 8, 9), 3)}) == {A: [10, 11, 12]}
    assert context.steps == [3, 1, 1]
    assert context.n_threads == 2
    assert draft.token_s > 0


def test_choices_are_guessed_for_in_one_batch(draft, context):
    found = draft.guess({A: (tokens(7, 8), 2), B: (tokens(50), 1), C: (tokens(60), 3)})

    assert found == {A: [9, 10], B: [51], C: [61, 62, 63]}
    assert context.steps == [4, 2, 1]


def test_only_what_is_new_is_read(draft, context):
    draft.guess({A: (tokens(7, 8, 9), 2)})
    context.steps.clear()

    assert draft.guess({A: (tokens(7, 8, 9, 10, 11), 1)}) == {A: [12]}
    assert context.steps == [1], "10 it has guessed itself"


def test_a_wrong_guess_is_taken_back(draft, context):
    draft.guess({A: (tokens(7, 8, 9), 3)})

    assert draft.guess({A: (tokens(7, 8, 9, 200), 2)}) == {A: [201, 202]}
    assert context.held == {0: [7, 8, 9, 200, 201]}


def test_a_long_prompt_is_read_in_pieces_and_holds_up_nobody(draft, context):
    long = tokens(*range(100, 140))
    wanted = {A: (long, 2), B: (tokens(5, 6), 2)}

    assert draft.guess(wanted) == {B: [7, 8]}
    assert draft.guess(wanted | {B: (tokens(5, 6, 7), 2)}) == {B: [8, 9]}
    assert draft.guess(wanted | {B: (tokens(5, 6, 7, 8), 2)}) == {A: [140, 141], B: [9, 10]}
    assert max(context.steps) <= context.n_batch


def test_what_another_choice_has_read_is_not_read_again(draft, context):
    prompt = tokens(*range(300, 316))[:16]
    draft.guess({B: (prompt, 1)})
    context.steps.clear()

    assert draft.guess({C: (np.append(prompt, np.int32(600)), 1)}) == {C: [601]}
    assert context.steps == [1]


def test_what_was_read_for_another_salt_is_nobody_else_s(draft, context):
    prompt = tokens(*range(300, 330))[:16]
    draft.guess({B: (prompt, 1)})
    context.steps.clear()

    assert draft.guess({Key("mine", 4, 0): (prompt, 1)}) == {Key("mine", 4, 0): [316]}
    assert context.steps == [16]


def test_who_is_guessed_for_no_more_gives_up_the_place(draft, context):
    for key in (A, B, C, D):
        assert draft.guess({key: (tokens(10 * key.request, 10 * key.request + key.choice), 1)})

    assert len(context.held) == 3
    assert draft.guess({A: (tokens(10, 10), 1), D: (tokens(30, 30), 1)}) == {A: [11], D: [31]}


def test_a_full_cache_is_begun_anew():
    context = Counting(n_cells=8)
    draft = DraftModel(context, n_places=2, n_vocab=N_VOCAB)
    draft.guess({A: (tokens(1, 2, 3, 4, 5), 1)})

    assert draft.guess({B: (tokens(6, 7, 8, 9), 1)}) == {}
    assert draft.guess({B: (tokens(6, 7, 8, 9), 1)}) == {B: [10]}


def test_tokens_that_only_one_vocabulary_has_end_the_guessing(context):
    draft = DraftModel(context, n_places=2, n_vocab=500)

    assert draft.guess({A: (tokens(7, 998), 1), B: (tokens(7, -1, 8), 1)}) == {}
    assert context.steps == []
    assert all(token < 500 for token in draft.guess({C: (tokens(499), 2)})[C])
