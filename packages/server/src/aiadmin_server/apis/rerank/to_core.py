"""Requests to rank to core's: pure, and called once a request by `route`."""

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.request import RankingMode, ScoreRequest

from ...http.reading import Decoded
from ...serving.call import Call
from ...serving.sampling import keep_alive_s
from . import wire

MAX_DOCUMENTS = 2048
_REFUSED = {
    "max_tokens_per_doc": "a document is read whole; 'truncate' cuts one that is too long.",
    "max_chunks_per_doc": "a document is read in one piece.",
}


def rerank_call(decoded: Decoded[wire.RerankRequest]) -> Call:
    """All documents are one request. Raises `BadRequest` by name for what cannot be ranked."""
    data = decoded.data
    _check("documents", len(data.documents))
    if data.top_n is not None and data.top_n < 1:
        raise BadRequest(f"'top_n' must be at least 1, not {data.top_n}.", param="top_n")
    for name, why in _REFUSED.items():
        if getattr(data, name) is not None:
            raise UnsupportedParameter(name, why=why, hint="Leave it out.")
    if data.rank_fields not in (None, [], ["text"]):
        raise UnsupportedParameter("rank_fields", why="a document's 'text' is what is ranked.", hint="Leave it out.")
    documents = tuple(one if isinstance(one, str) else one.text for one in data.documents)
    request = ScoreRequest(
        id=0, query=data.query, documents=documents, mode=data.mode or "ranking", truncate=bool(data.truncate)
    )
    return _call(decoded, (request,))


def score_call(decoded: Decoded[wire.ScoreRequest]) -> Call:
    """Each query is one request, with all its documents. Raises `BadRequest` by name for what cannot be compared."""
    data = decoded.data
    first_name, first = _one_of(data, "text_1", "queries")
    second_name, second = _one_of(data, "text_2", "documents")
    _check(first_name, len(first))
    _check(second_name, len(second))
    if len(first) not in (1, len(second)):
        raise BadRequest(
            f"'{first_name}' has {len(first)} texts and '{second_name}' {len(second)}.",
            hint=f"Send one '{first_name}', or as many as '{second_name}'.",
            param=second_name,
        )
    mode: RankingMode = data.mode or "any"
    groups = [(first[0], tuple(second))] if len(first) == 1 else [(q, (d,)) for q, d in zip(first, second, strict=True)]
    requests = tuple(
        ScoreRequest(id=0, query=query, documents=documents, mode=mode, truncate=bool(data.truncate))
        for query, documents in groups
    )
    return _call(decoded, requests, {"query": first_name, "documents": second_name})


def _one_of(data: wire.ScoreRequest, *names: str) -> tuple[str, list[str]]:
    """Which of two names for one field was used, and its texts."""
    given = [(name, value) for name in names if (value := getattr(data, name)) is not None]
    if len(given) > 1:
        raise BadRequest(f"'{names[0]}' and '{names[1]}' are the same.", hint="Send one of them.", param=names[1])
    if not given:
        raise BadRequest(f"The request needs '{names[0]}' (or '{names[1]}').", param=names[0])
    name, value = given[0]
    return name, [value] if isinstance(value, str) else value


def _check(name: str, n: int) -> None:
    if not 1 <= n <= MAX_DOCUMENTS:
        raise BadRequest(f"'{name}' holds 1 to {MAX_DOCUMENTS} texts, not {n}.", param=name)


def _call(
    decoded: Decoded[wire.RerankRequest] | Decoded[wire.ScoreRequest],
    requests: tuple[ScoreRequest, ...],
    names: dict[str, str] | None = None,
) -> Call:
    data = decoded.data
    return Call(
        model=data.model,
        requests=requests,
        names=names or {},
        keep_alive_s=keep_alive_s(data.keep_alive),
        unknown=decoded.unknown,
    )
