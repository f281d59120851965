"""A chat without its terminal."""

import pytest

from aiadmin_server.cli._conversation import HELP, SETTINGS, Conversation, Leave, is_open, unfenced


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


def test_what_cannot_be_set_is_explained():
    chat = Conversation("smollm2")

    assert "cannot be 'warm'" in chat.obey("/set temperature warm")
    assert "temperature" in chat.obey("/set heat 3")
    assert chat.options == {}


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
