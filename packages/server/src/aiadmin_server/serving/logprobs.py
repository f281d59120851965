"""Log-probabilities as JSON can carry them. Pure; used by every API that tells them."""

LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a probability of zero; JSON has no infinity."""


def text_of(piece: bytes) -> str:
    """A token's text for people; its bytes stand beside it where it is no whole character."""
    return piece.decode("utf-8", "replace")


def spelled(piece: bytes) -> str:
    """A token as the keys of completions have it, which are all that tells of it: a piece of a character as OpenAI
    spells one, `bytes:\\xf0\\x9f`."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return as_bytes(piece)


def as_bytes(piece: bytes) -> str:
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
