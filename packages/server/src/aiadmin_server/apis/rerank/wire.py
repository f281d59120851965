"""What is sent to `/v1/rerank` and `/v1/score`, and sent back.

Rerank as at https://api.jina.ai/redoc and https://docs.cohere.com/reference/rerank, which agree but for `usage` and
`meta`; score as in vLLM's `/score`. Optional fields of requests are `| None = None`: JSON null means absent.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class Document(Struct, frozen=True, kw_only=True):
    text: str


class RerankRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/rerank`."""

    model: str
    query: str
    documents: list[str | Document]
    top_n: int | None = None
    """Only the best so many; all where it is left out."""
    return_documents: bool | None = None
    """Whether results have their documents: at `/v2/rerank` only where it is asked for."""

    # Refused by name where they ask for something.
    max_tokens_per_doc: int | None = None
    max_chunks_per_doc: int | None = None
    rank_fields: list[str] | None = None

    # Extensions.
    mode: Literal["ranking", "similarity"] | None = None
    """ "similarity" compares embeddings, on models that make them."""
    truncate: bool | None = None
    """Read the beginning of a document that is too long, instead of refusing it."""
    keep_alive: int | float | str | None = None


class Result(Struct, frozen=True, kw_only=True):
    index: int
    """Of the document among those that were sent."""
    relevance_score: float
    document: Document | UnsetType = UNSET


class RerankUsage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class ApiVersion(Struct, frozen=True, kw_only=True):
    version: str


class BilledUnits(Struct, frozen=True, kw_only=True):
    search_units: int = 1


class MetaTokens(Struct, frozen=True, kw_only=True):
    input_tokens: int
    output_tokens: int = 0


class Meta(Struct, frozen=True, kw_only=True):
    """Cohere's."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: MetaTokens


class Ranking(Struct, frozen=True, kw_only=True):
    """What `/v1/rerank` answers."""

    id: str
    object: Literal["list"] = "list"
    model: str
    """The name that was asked for."""
    results: list[Result]
    """Best first."""
    usage: RerankUsage
    meta: Meta


class ScoreRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/score`: `text_1` and `text_2`, or the same as `queries` and `documents`."""

    model: str
    text_1: str | list[str] | None = None
    """One text, which is compared with each of the others; or as many as there are of them, pair by pair."""
    text_2: str | list[str] | None = None
    queries: str | list[str] | None = None
    documents: str | list[str] | None = None

    # Extensions.
    mode: Literal["ranking", "similarity"] | None = None
    """Whatever the model can, where it is left out."""
    truncate: bool | None = None
    keep_alive: int | float | str | None = None


class Score(Struct, frozen=True, kw_only=True):
    index: int
    object: Literal["score"] = "score"
    score: float


class ScoreList(Struct, frozen=True, kw_only=True):
    """What `/v1/score` answers."""

    id: str
    object: Literal["list"] = "list"
    created: int
    """Unix time, seconds."""
    model: str
    data: list[Score]
    usage: RerankUsage
