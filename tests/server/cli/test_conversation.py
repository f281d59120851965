"""A chat without its terminal."""

import json
from pathlib import Path

import msgspec
import pytest

from aiadmin_core.errors import BadRequest, StoreError
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.cli._commands import HELP, Around, is_command, obey
from aiadmin_server.cli._conversation import SETTINGS, Conversation, Leave, is_open, unfenced
from aiadmin_server.cli._sessions import Sessions

NOTHING = Around(sessions=Sessions(Path("/nowhere")), describe=lambda model: {})


def do(chat, line, around=NOTHING):
    """What the chat says to a line."""
    return obey(chat, line, around)


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
    do(chat, "/set temperature 0.2")
    chat.add("Hi", "Hello")

    do(chat, "/clear")

    assert chat.messages == []
    assert chat.options == {"temperature": 0.2}


def test_set_reads_shows_and_unsets_values():
    chat = Conversation("smollm2")

    assert do(chat, "/set seed 7") == "seed = 7"
    assert do(chat, '/set system """You are\na pirate."""') == "system = You are\na pirate."
    assert do(chat, "/set") == "system = You are\na pirate.\nseed = 7"
    assert do(chat, "/set seed") == "seed is unset."
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

    assert do(chat, f"/set {line}").startswith(said)
    assert chat.options == {}


NO_NUMBERS = ("system", "stop", "logit_bias", "dry_sequence_breakers")


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in NO_NUMBERS])
def test_every_sampling_field_can_be_set_and_a_request_has_it(name):
    chat = Conversation("smollm2")
    do(chat, f"/set {name} 1")

    assert chat.request("Hi")[name] == 1
    decode(chat.request("Hi"))


def test_fields_that_are_no_numbers_can_be_set_too():
    chat = Conversation("smollm2")
    do(chat, "/set stop END")
    do(chat, '/set logit_bias {"17": -100}')

    assert decode(chat.request("Hi")).logit_bias == {"17": -100}
    assert decode(chat.request("Hi")).stop == "END"


@pytest.mark.parametrize("word", ["/bye", "/exit", "/quit"])
def test_bye_leaves(word):
    with pytest.raises(Leave):
        do(Conversation("smollm2"), word)


def test_help_names_everything_that_can_be_set_and_unknown_commands_name_help():
    chat = Conversation("smollm2")

    assert do(chat, "/help") == HELP
    assert all(name in HELP for name in SETTINGS)
    assert "/help" in do(chat, "/jump")


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

    do(chat, '/set dry_sequence_breakers ["\\n", "--"]')

    assert chat.options == {"dry_sequence_breakers": ("\n", "--")}
    assert "it is written" in do(chat, "/set dry_sequence_breakers --")


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("/set parameter temperature 0.5", {"temperature": 0.5}),
        ("/set parameter num_predict 9", {"max_tokens": 9}),
        ("/set think", {"think": True}),
        ("/set think high", {"think": "high"}),
        ("/set nothink", {"think": False}),
        ("/set format json", {"response_format": {"type": "json_object"}}),
    ],
)
def test_settings_are_fields_of_the_request_under_the_names_people_know(line, options):
    chat = Conversation("m")
    do(chat, line)
    assert chat.options == options
    decode(chat.request("Hi"))


def test_a_format_may_be_a_schema_or_a_file_with_one_and_can_be_unset(tmp_path):
    chat = Conversation("m")
    (tmp_path / "s.json").write_text('{"type": "object"}')
    for text in ('{"type": "object"}', str(tmp_path / "s.json")):
        do(chat, f"/set format {text}")
        assert chat.options["response_format"]["json_schema"]["schema"] == {"type": "object"}
        decode(chat.request("Hi"))
    assert "cannot be read" in do(chat, "/set format /nowhere.json")
    assert "no JSON" in do(chat, "/set format {]")
    assert do(chat, "/set noformat") == "format is unset."
    assert chat.options == {}


def test_switches_change_how_answers_are_shown():
    chat = Conversation("m")
    for line, attribute, value in (
        ("verbose", "verbose", True),
        ("quiet", "verbose", False),
        ("nowordwrap", "word_wrap", False),
        ("nohistory", "keeps_history", False),
        ("history", "keeps_history", True),
    ):
        assert do(chat, f"/set {line}")
        assert getattr(chat, attribute) is value


def test_a_conversation_is_saved_and_loaded_with_everything(tmp_path):
    around = Around(sessions=Sessions(tmp_path / "sessions"), describe=lambda model: {})
    chat = Conversation("m", system="Be brief.", options={"seed": 1, "stop": "x"})
    chat.add("Hi", "Hello")
    assert do(chat, "/save mine", around) == "Saved as mine."
    assert (tmp_path / "sessions" / "mine.json").stat().st_mode & 0o077 == 0
    other = Conversation("n")
    assert do(other, "/load mine", around) == "Going on with mine: 2 messages with m."
    assert other == chat
    assert do(other, "/load", around) == "Kept: mine."
    with pytest.raises(BadRequest, match="already"):
        do(other, "/save mine", around)
    assert do(other, "/save! mine", around) == "Saved as mine."
    with pytest.raises(BadRequest, match="no name"):
        do(other, "/save ../x", around)


def test_what_is_no_kept_conversation_is_a_model_or_refused(tmp_path):
    def describe(model):
        if model != "other":
            raise BadRequest(f"no model {model}")
        return {}

    around = Around(sessions=Sessions(tmp_path), describe=describe)
    chat = Conversation("m")
    assert do(chat, "/load other", around) == "Talking to other from here on."
    assert chat.model == "other"
    with pytest.raises(BadRequest, match="no model zzz"):
        do(chat, "/load zzz", around)
    assert chat.model == "other"
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        do(chat, "/load bad", around)


def test_show_tells_what_the_server_knows():
    described = {
        "details": {"family": "llama", "quantization_level": "Q4_1"},
        "model_info": {"llama.context_length": 8192},
        "capabilities": ["completion", "tools"],
        "template": "{{ x }}",
        "parameters": "temperature 0.2",
    }
    around = Around(sessions=NOTHING.sessions, describe=lambda model: described)
    chat = Conversation("m", options={"seed": 1})
    shown = do(chat, "/show", around)
    assert all(word in shown for word in ("llama", "Q4_1", "8192", "completion, tools"))
    assert do(chat, "/show template", around) == "{{ x }}"
    assert do(chat, "/show parameters", around) == "seed = 1\ntemperature 0.2"
    assert do(chat, "/show license", around) == "It has no license."
    assert "there are info" in do(chat, "/show me", around)
    chat.system = "Hi."
    assert do(chat, "/show system", around) == "Hi."


def test_a_path_at_the_beginning_is_no_command():
    assert is_command("/set seed 1")
    assert is_command("/?")
    assert not is_command("/home/me/cat.png what is this?")
    assert not is_command("1/2")
