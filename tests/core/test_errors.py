"""How errors read."""

import pytest

from aiadmin_core.errors import AiAdminError, ContextLengthExceeded


@pytest.mark.parametrize(
    ("message", "hint", "sentence"),
    [
        ("It broke.", "Mend it.", "It broke. Mend it."),
        ("Its last line: in _generate", "Send it again.", "Its last line: in _generate. Send it again."),
        ("It broke", "", "It broke"),
    ],
)
def test_message_and_hint_are_two_sentences(message: str, hint: str, sentence: str) -> None:
    assert str(AiAdminError(message, hint=hint)) == sentence


def test_too_long_a_prompt_is_told_in_words_that_clients_look_for() -> None:
    """litellm and coding agents shorten a conversation by themselves where they read them."""
    text = str(ContextLengthExceeded(n_prompt=9031, n_ctx=8192))
    assert "maximum context length is 8192 tokens" in text
    assert "9031" in text
