"""How an error is told: as OpenAI's clients read it, and its `message` once more where Cohere's do. Pure."""

from msgspec import Struct

from ...http.problem import Problem


class RankingErrorBody(Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    """Path of the field that is wrong (`documents[0]`)."""
    code: str


class RankingError(Struct, frozen=True, kw_only=True):
    error: RankingErrorBody
    message: str


def envelope(problem: Problem) -> RankingError:
    """`{"error": {message, type, param, code}, "message": ...}`."""
    kind = "invalid_request_error" if problem.status < 500 else "server_error"
    body = RankingErrorBody(message=problem.message, type=kind, param=problem.param, code=problem.code)
    return RankingError(error=body, message=problem.message)
