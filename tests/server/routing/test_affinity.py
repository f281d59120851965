"""Which engine a prompt goes to, by what it has read and how busy it is."""

import pytest

from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.request import ChatInput, GenerateRequest, TextInput, TokensInput
from aiadmin_server.routing.affinity import (
    CHUNK,
    MOST_BEGINNINGS,
    MOST_KNOWN,
    WORTH_OF_KEY,
    Beginning,
    Known,
    beginnings,
    choose,
)


def chat(*texts, **how):
    messages = tuple(Message(role="user", content=(TextPart(text),)) for text in texts)
    return GenerateRequest(id=1, input=ChatInput(messages=messages), **how)


def in_common(first, second):
    """Bytes that the second prompt has in common with what was read of the first."""
    known = Known()
    known.add(beginnings([first]))
    return known.n_bytes(beginnings([second]))


def test_the_next_turn_begins_with_all_that_was_said():
    first = chat("You are kind.", "Tell me of the sea.")
    following = chat("You are kind.", "Tell me of the sea.", "It is deep.", "And the sky?")

    assert in_common(first, following) == beginnings([first])[-1].n_bytes


def test_another_conversation_shares_what_all_begin_with():
    shared = in_common(chat("You are kind.", "Tell me of the sea."), chat("You are kind.", "Tell me of the sky."))

    assert 0 < shared < beginnings([chat("You are kind.", "Tell me of the sea.")])[-1].n_bytes
    assert in_common(chat("You are kind.", "Hello."), chat("You are rude.", "Hello.")) == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TextInput(text="a" * 5000), TextInput(text="a" * 3000 + "b" * 2000)),
        (TokensInput(tokens=(7,) * 1250), TokensInput(tokens=(*(7,) * 750, *(8,) * 500))),
    ],
    ids=["text", "tokens"],
)
def test_long_prompts_are_compared_in_pieces(first, second):
    assert in_common(GenerateRequest(id=1, input=first), GenerateRequest(id=2, input=second)) == 3000 // CHUNK * CHUNK


def test_what_one_may_not_know_of_the_other_is_not_in_common():
    assert in_common(chat("Hello.", cache_salt="ann"), chat("Hello.", cache_salt="bob")) == 0


def test_a_key_is_known_where_no_word_is():
    first = chat("You are kind.", cache_key="ann")

    assert in_common(first, chat("Hello.", cache_key="ann")) == WORTH_OF_KEY
    assert in_common(first, chat("Hello.", cache_key="bob")) == 0
    assert in_common(first, chat("Hello.")) == 0
    assert in_common(first, chat("Hello.", cache_key="ann", cache_salt="s")) == 0


@pytest.mark.parametrize(("first", "second"), [("ann", "bob"), ("ann", ""), ("", "ann"), ("ann", "ann")])
def test_keys_separate_no_prompts_that_begin_alike(first, second):
    prompt = chat("You are kind.", cache_key=first)

    assert in_common(prompt, chat("You are kind.", cache_key=second)) == beginnings([chat("You are kind.")])[-1].n_bytes


def test_of_a_very_long_prompt_only_the_beginning_counts():
    found = beginnings([GenerateRequest(id=1, input=TextInput(text="a" * 2 * CHUNK * MOST_BEGINNINGS))])

    assert len(found) == MOST_BEGINNINGS


def test_what_is_no_prompt_has_no_beginning():
    assert beginnings([]) == []


def test_what_was_read_long_ago_is_forgotten_and_what_comes_again_is_not():
    known = Known()
    common, first = Beginning(b"system", 10), Beginning(b"first", 20)
    known.add([common, first])
    for n in range(MOST_KNOWN):
        known.add([common, Beginning(b"%d" % n, 20)])

    assert known.n_bytes([first]) == 0
    assert known.n_bytes([common]) == 10


@pytest.mark.parametrize(
    ("n_busy", "n_known", "chosen"),
    [
        ([0, 0], [0, 0], 0),
        ([1, 0], [0, 0], 1),  # nobody knows it: the least busy
        ([0, 0], [0, 100], 1),  # for nothing
        ([0, 0], [0, WORTH_OF_KEY], 1),  # nothing else decides
        ([0, 1], [0, WORTH_OF_KEY], 0),
        ([0, 0], [WORTH_OF_KEY, 2], 1),
        ([0, 1], [0, 100], 0),  # a few words are read sooner than a request is answered
        ([0, 1], [0, 600], 1),
        ([0, 3], [0, 8000], 1),
        ([0, 9], [0, 10**6], 0),  # however much it is: the other has nothing to do
        ([2, 2, 2], [0, 50, 90], 2),
    ],
)
def test_who_has_read_it_is_asked_unless_much_busier(n_busy, n_known, chosen):
    assert choose(n_busy, n_known) == chosen
