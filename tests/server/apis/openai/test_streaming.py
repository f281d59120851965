"""What answers share."""

from aiadmin_server.apis.openai.streaming import fingerprint


def test_a_fingerprint_changes_with_what_it_names():
    assert fingerprint("a", "b") == fingerprint("a", "b") != fingerprint("ab", "")
