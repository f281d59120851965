"""The chat, on a pseudo-terminal."""

import sys
from collections.abc import Iterator

import pytest

pexpect = pytest.importorskip("pexpect", reason="needs a pseudo-terminal")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

PROMPT = ">>>"
CTRL_C, CTRL_D, ALT_ENTER, UP = "\x03", "\x04", "\x1b\r", "\x1b[A"


@pytest.fixture
def chat(running, echo) -> Iterator[pexpect.spawn]:
    """`aiadmin run echo`, at its first prompt."""
    child = start(echo)
    yield child
    child.close(force=True)


def start(environment, *arguments, columns=200):
    command = ["-m", "aiadmin_server", "run", "echo", *arguments]
    environment = environment | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = pexpect.spawn(
        sys.executable, command, env=environment, timeout=10, encoding="utf-8", dimensions=(24, columns)
    )
    child.expect_exact("leaves.")
    child.expect_exact(PROMPT)
    return child


def test_a_chat_remembers_its_turns(chat):
    chat.send("one\r")
    chat.expect_exact("[0 before] one")
    chat.expect_exact(PROMPT)
    chat.send("two\r")

    chat.expect_exact("[2 before] two")


def test_a_fence_takes_several_lines_and_alt_enter_adds_one(chat):
    chat.send('"""first\r')
    chat.send('second"""\r')
    chat.expect_exact("[0 before] first\r\nsecond")
    chat.expect_exact(PROMPT)
    chat.send("up" + ALT_ENTER + "down\r")

    chat.expect_exact("[2 before] up\r\ndown")


def test_ctrl_c_stops_the_answer_and_not_the_program(chat):
    chat.send("slow\r")
    chat.expect_exact("tick tick")
    chat.send(CTRL_C)
    chat.expect_exact("(stopped)")
    chat.expect_exact(PROMPT)
    chat.send("still there\r")

    chat.expect_exact("[2 before] still there")


def test_ctrl_c_at_the_prompt_says_how_to_leave_and_ctrl_d_leaves(chat):
    chat.send("half a li" + CTRL_C)
    chat.expect_exact("Ctrl-D or /bye leaves.")
    chat.expect_exact(PROMPT)
    chat.send(CTRL_D)
    chat.expect(pexpect.EOF)
    chat.close()

    assert chat.exitstatus == 0


def test_commands_change_the_conversation(chat):
    chat.send("/help\r")
    chat.expect_exact("/set NAME VALUE")
    chat.expect_exact(PROMPT)
    chat.send("/set system Be brief.\r")
    chat.expect_exact("system = Be brief.")
    chat.expect_exact(PROMPT)
    chat.send("hello\r")
    chat.expect_exact("[1 before] Be brief. | hello")
    chat.expect_exact(PROMPT)
    chat.send("/clear\r")
    chat.expect_exact(PROMPT)
    chat.send("again\r")
    chat.expect_exact("[1 before] Be brief. | again")
    chat.expect_exact(PROMPT)
    chat.send("/bye\r")
    chat.expect(pexpect.EOF)


def test_a_conversation_is_kept_and_brought_back(chat):
    chat.send("one\r")
    chat.expect_exact("[0 before] one")
    chat.expect_exact(PROMPT)
    chat.send("/save mine\r")
    chat.expect_exact("Saved as mine.")
    chat.expect_exact(PROMPT)
    chat.send("/clear\r")
    chat.expect_exact(PROMPT)
    chat.send("/load mine\r")
    chat.expect_exact("Going on with mine: 2 messages with echo.")
    chat.expect_exact(PROMPT)
    chat.send("two\r")
    chat.expect_exact("[2 before] two")
    chat.expect_exact(PROMPT)
    chat.send("/show\r")
    chat.expect_exact("echo")
    chat.expect_exact(PROMPT)


def test_nothing_is_kept_of_what_is_typed_after_nohistory(chat, state):
    chat.send("kept\r")
    chat.expect_exact("[0 before] kept")
    chat.expect_exact(PROMPT)
    chat.send("/set nohistory\r")
    chat.expect_exact("for this chat only")
    chat.expect_exact(PROMPT)
    chat.send("secret\r")
    chat.expect_exact("[2 before] secret")
    chat.expect_exact(PROMPT)

    kept = (state / "history").read_text()
    assert "kept" in kept
    assert "secret" not in kept


def test_a_chat_with_a_model_nobody_knows_does_not_begin(running, echo):
    child = pexpect.spawn(
        sys.executable, ["-m", "aiadmin_server", "run", "eco"], env=echo, timeout=10, encoding="utf-8"
    )

    child.expect_exact("'eco' was not found")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1


def test_an_error_is_a_sentence_and_the_chat_goes_on(chat):
    chat.send("/set top_k 9\r")
    chat.expect_exact(PROMPT)
    chat.send("hi\r")
    chat.expect_exact("Error: ")
    chat.expect_exact(PROMPT)
    chat.send("/set top_k\r")
    chat.expect_exact(PROMPT)
    chat.send("hi\r")

    chat.expect_exact("[0 before] hi")


def test_history_is_kept_for_the_next_chat_and_only_for_its_owner(chat, echo, state):
    chat.send("remember me\r")
    chat.expect_exact("[0 before] remember me")
    chat.expect_exact(PROMPT)
    chat.send(CTRL_D)
    chat.expect(pexpect.EOF)

    second = start(echo)
    second.send(UP + "\r")
    second.expect_exact("[0 before] remember me")
    second.close(force=True)

    assert (state / "history").stat().st_mode & 0o077 == 0


def test_history_can_be_turned_off(running, echo, state):
    child = start(echo | {"AIADMIN_NOHISTORY": "1"})
    child.send("secret\r")
    child.expect_exact("[0 before] secret")
    child.close(force=True)

    assert not (state / "history").exists()


def test_a_model_cannot_send_control_sequences_to_the_terminal(chat):
    chat.send("\x1b[200~paste\x1b[201~ \x16\x1b]0;title\x16\x07\r")  # Ctrl-V types the next key as it is
    chat.expect_exact("[0 before] paste ]0;title")


def test_keys_typed_ahead_wait_for_the_next_prompt(chat):
    chat.send("a while\r")
    chat.expect_exact("tick")
    chat.send("typed ahead\r")
    chat.expect_exact("the end")
    assert "typed" not in chat.before
    chat.expect_exact(PROMPT)

    chat.expect_exact("[2 before] typed ahead")


def test_the_terminal_echoes_again_after_the_chat(echo, running):
    command = f"{sys.executable} -m aiadmin_server run echo; stty -a"
    environment = echo | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    child = pexpect.spawn("bash", ["-c", command], env=environment, timeout=20, encoding="utf-8")
    child.expect_exact(PROMPT)
    child.send(CTRL_D)
    child.expect(pexpect.EOF)

    settings = child.before.replace(";", " ").split()
    assert {"icanon", "echo", "icrnl"} <= set(settings)


def test_no_word_breaks_at_the_edge_of_the_terminal(running, echo):
    child = start(echo, columns=30)
    child.send("seven words of which the longest is incomprehensible\r")
    child.expect_exact("\x1b[K\r\nincomprehensible")
    child.close(force=True)
