"""A chat without its terminal."""

import json

import msgspec
import pytest

from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.cli._conversation import HELP, SETTINGS, Conversation, Leave, is_open, unfenced


def decode(body):
    """A request as the server reads it."""
    return msgspec.json.decode(json.dumps(body), type=ChatCompletionRequest)


def test_a_turn_carries_the_system_message_and_all_earlier_turns():
    chat = Conversation("smollm2", system="Be brief.", options={"seed": 1})
    chat.add("Hi", "Hello")

    request = chat.request("And now?")

    assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "user"]
    assert request["messages"][-1]["content"] == "And now?"
    assert request["model"] == "smollm2"
    assert request["seed"] == 1


def test_clear_forgets_what_was_said_and_keeps_what_was_set():
    chat = Conversation("smollm2")
    chat.obey("/set temperature 0.2")
    chat.add("Hi", "Hello")

    chat.obey("/clear")

    assert chat.messages == []
    assert chat.options == {"temperature": 0.2}


def test_set_reads_shows_and_unsets_values():
    chat = Conversation("smollm2")

    assert chat.obey("/set seed 7") == "seed = 7"
    assert chat.obey('/set system """You are\na pirate."""') == "system = You are\na pirate."
    assert chat.obey("/set") == "system = You are\na pirate.\nseed = 7"
    assert chat.obey("/set seed") == "seed is unset."
    assert chat.options == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("temperature warm", "temperature cannot be 'warm': it is a number."),
        ("temperature 9", "temperature cannot be '9': it is a number of at most 2."),
        ("temperature nan", "temperature cannot be 'nan': it is a number of at least 0."),
        ("top_k -1", "top_k cannot be '-1': it is a whole number of at least 0."),
        ("repeat_penalty 0", "repeat_penalty cannot be '0': it is a number of at least 0.01."),
        ("max_tokens 0", "max_tokens cannot be '0': it is a whole number of at least 1."),
        ("seed 3.5", "seed cannot be '3.5': it is a whole number."),
        ("ignore_eos yes", "ignore_eos cannot be 'yes': it is true or false."),
        ("logit_bias much", "logit_bias cannot be 'much': it is written {\"TOKEN ID\": BIAS}."),
        ("heat 3", "Cannot set heat; there are system, temperature, top_p, top_k"),
    ],
)
def test_what_cannot_be_set_is_explained_at_once(line, said):
    chat = Conversation("smollm2")

    assert chat.obey(f"/set {line}").startswith(said)
    assert chat.options == {}


NO_NUMBERS = ("system", "stop", "logit_bias", "dry_sequence_breakers")


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in NO_NUMBERS])
def test_every_sampling_field_can_be_set_and_a_request_has_it(name):
    chat = Conversation("smollm2")
    chat.obey(f"/set {name} 1")

    assert chat.request("Hi")[name] == 1
    decode(chat.request("Hi"))


def test_fields_that_are_no_numbers_can_be_set_too():
    chat = Conversation("smollm2")
    chat.obey("/set stop END")
    chat.obey('/set logit_bias {"17": -100}')

    assert decode(chat.request("Hi")).logit_bias == {"17": -100}
    assert decode(chat.request("Hi")).stop == "END"


@pytest.mark.parametrize("word", ["/bye", "/exit", "/quit"])
def test_bye_leaves(word):
    with pytest.raises(Leave):
        Conversation("smollm2").obey(word)


def test_help_names_everything_that_can_be_set_and_unknown_commands_name_help():
    chat = Conversation("smollm2")

    assert chat.obey("/help") == HELP
    assert all(name in HELP for name in SETTINGS)
    assert "/help" in chat.obey("/jump")


def test_a_fence_is_open_until_it_is_closed():
    assert is_open('"""one')
    assert not is_open('"""one\ntwo"""')
    assert not is_open("plain")


def test_fences_are_not_part_of_the_message():
    assert unfenced('"""\none\ntwo\n"""') == "one\ntwo"
    assert unfenced('say """ twice') == 'say """ twice'
    assert unfenced('"""') == '"""'


def test_texts_are_set_as_a_json_list():
    chat = Conversation("smollm2")

    chat.obey('/set dry_sequence_breakers ["\\n", "--"]')

    assert chat.options == {"dry_sequence_breakers": ("\n", "--")}
    assert "it is written" in chat.obey("/set dry_sequence_breakers --")
