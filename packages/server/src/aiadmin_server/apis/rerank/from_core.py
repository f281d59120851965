"""Core's scores as they are told: pure but for ids and the time, one object for each response."""

import secrets
import time
from collections.abc import Sequence

from msgspec import UNSET

from aiadmin_core.specs import events as core

from ...serving.exchange import Opened
from ...serving.vectors import numbers
from ...serving.writer import ChunkWriter
from . import wire


class RankingWriter(ChunkWriter):
    """`/v1/rerank`, always whole."""

    def __init__(self, data: wire.RerankRequest, *, version: str, shows_documents: bool) -> None:
        """`version`: of Cohere's API, as its `meta` says."""
        self._data = data
        self._model = data.model
        self._version = version
        self._shows_documents = shows_documents

    def begin(self, opened: Opened) -> None:
        self._model = opened.lease.answers_as

    def chunks(self, event: core.Event) -> tuple[()]:  # noqa: ARG002 - nothing is streamed here
        return ()

    def whole(self, events: Sequence[core.Event]) -> wire.Ranking:
        scores, n_tokens = _scores(events), _n_tokens(events)
        best = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        return wire.Ranking(
            id="rerank-" + secrets.token_hex(16),
            model=self._model,
            results=[self._result(index, scores[index]) for index in best[: self._data.top_n]],
            usage=wire.RerankUsage(prompt_tokens=n_tokens, total_tokens=n_tokens),
            meta=wire.Meta(
                api_version=wire.ApiVersion(version=self._version),
                billed_units=wire.BilledUnits(),
                tokens=wire.MetaTokens(input_tokens=n_tokens),
            ),
        )

    def _result(self, index: int, score: float) -> wire.Result:
        sent = self._data.documents[index]
        document = wire.Document(text=sent) if isinstance(sent, str) else sent
        return wire.Result(index=index, relevance_score=score, document=document if self._shows_documents else UNSET)


class ScoreWriter(ChunkWriter):
    """`/v1/score`, always whole."""

    def __init__(self, model: str) -> None:
        self._model = model

    def begin(self, opened: Opened) -> None:
        self._model = opened.lease.answers_as

    def chunks(self, event: core.Event) -> tuple[()]:  # noqa: ARG002 - nothing is streamed here
        return ()

    def whole(self, events: Sequence[core.Event]) -> wire.ScoreList:
        n_tokens = _n_tokens(events)
        return wire.ScoreList(
            id="score-" + secrets.token_hex(16),
            created=int(time.time()),
            model=self._model,
            data=[wire.Score(index=index, score=score) for index, score in enumerate(_scores(events))],
            usage=wire.RerankUsage(prompt_tokens=n_tokens, total_tokens=n_tokens),
        )


def _scores(events: Sequence[core.Event]) -> list[float]:
    """Of all requests, in the order in which they were made: their ids count up."""
    scored = sorted((event for event in events if isinstance(event, core.Scored)), key=lambda event: event.request_id)
    return [score for event in scored for score in numbers(event.scores.data)]


def _n_tokens(events: Sequence[core.Event]) -> int:
    return sum(event.usage.prompt_tokens for event in events if isinstance(event, core.Finished))
