"""How errors read."""

import pytest

from aiadmin_core.errors import AiAdminError


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
