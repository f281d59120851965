"""Log-probabilities as JSON can carry them. Pure; used by chats and completions."""

LEAST_LOGPROB = -9999.0
"""What OpenAI writes for a probability of zero; JSON has no infinity."""


def text_of(piece: bytes) -> str:
    """A token's text for people; its bytes stand beside it where it is no whole character."""
    return piece.decode("utf-8", "replace")


def finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
