"""What is asked for vectors or scores instead of text: `exchange` has it done here, as events like any other's."""

import array
import math
import operator
import sys
from collections.abc import Sequence
from typing import cast

from aiadmin_core.backend import Engine, SupportsEmbed, SupportsScore
from aiadmin_core.batches import Batches
from aiadmin_core.errors import BadRequest, PluginError
from aiadmin_core.specs.events import Embedded, Finished, Scored, Started, Usage
from aiadmin_core.specs.request import EmbedRequest, ScoreRequest
from aiadmin_core.specs.vectors import Scores, Vectors

from .naming import naming

FLOAT_BYTES = 4


async def reading(engine: Engine, request: EmbedRequest | ScoreRequest) -> Batches:
    """`Started`, the result, `Finished`, in one batch. Closing it ends the work.

    Raises what the engine raises, `BadRequest` for more dimensions than there are, and `PluginError` for a result that
    is not what was asked for.
    """
    result: Embedded | Scored
    if isinstance(request, EmbedRequest):
        _check_dimensions(request.dimensions, engine.facts.n_embd)
        vectors = await _embedded(engine, request.inputs, truncate=request.truncate)
        if request.dimensions is not None:
            vectors = shortened(vectors, request.dimensions)
        n, result = sum(vectors.n_tokens), Embedded(request.id, vectors)
    else:
        scores = await _scored(engine, request)
        n, result = sum(scores.n_tokens), Scored(request.id, scores)
    yield (Started(request.id, n), result, Finished(request.id, "stop", Usage(prompt_tokens=n)))


async def _embedded(engine: Engine, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool) -> Vectors:
    vectors = await cast(SupportsEmbed, engine).embed(inputs, truncate=truncate)
    _check(vectors.n_tokens, vectors.data, len(inputs), vectors.n_dims)
    return vectors


async def _scored(engine: Engine, request: ScoreRequest) -> Scores:
    """By the model that ranks, or by similarity, see `RankingMode`."""
    documents = request.documents
    if request.mode != "similarity" and "score" in engine.capabilities.protocols:
        scores = await cast(SupportsScore, engine).score(request.query, documents, truncate=request.truncate)
        _check(scores.n_tokens, scores.data, len(documents), 1)
        return scores
    names = {"inputs[0]": "query"} | {f"inputs[{n + 1}]": f"documents[{n}]" for n in range(len(documents))}
    with naming(names):
        vectors = await _embedded(engine, (request.query, *documents), truncate=request.truncate)
    return similarities(vectors)


def _check(n_tokens: Sequence[int], data: bytes, n_wanted: int, n_numbers: int) -> None:
    if len(n_tokens) != n_wanted or len(data) != n_wanted * n_numbers * FLOAT_BYTES:
        raise PluginError("The engine gave back another number of results than it was asked for.")


def similarities(vectors: Vectors) -> Scores:
    """The cosine of each vector with the first one. Pure. The first one's tokens count as the first document's."""
    (query, *documents), (n_query, *n_tokens) = plain(vectors), vectors.n_tokens
    cosines = array.array("f", [sum(map(operator.mul, query, document)) for document in documents])
    if sys.byteorder == "big":
        cosines.byteswap()
    counted = (n_query + n_tokens[0], *n_tokens[1:]) if n_tokens else ()
    return Scores(data=cosines.tobytes(), n_tokens=counted)


def numbers(data: bytes) -> "array.array[float]":
    """float32, little-endian, as they lie on the wire, to be read and written here. (The server has no numpy.)"""
    found = array.array("f", data)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def plain(vectors: Vectors) -> list[list[float]]:
    """A list of numbers for each vector."""
    n, flat = vectors.n_dims, numbers(vectors.data)
    return [flat[start : start + n].tolist() for start in range(0, len(flat), n)]


def shortened(vectors: Vectors, n_dims: int) -> Vectors:
    """The first `n_dims` of each vector, scaled to length 1 again. Pure. Raises `BadRequest` where there are fewer.

    Sensible for models trained to put the most important first (https://arxiv.org/abs/2205.13147).
    """
    _check_dimensions(n_dims, vectors.n_dims)
    whole, cut = numbers(vectors.data), array.array("f")
    for start in range(0, len(whole), vectors.n_dims):
        row = whole[start : start + n_dims]
        length = math.hypot(*row) or 1.0
        cut.extend(number / length for number in row)
    if sys.byteorder == "big":
        cut.byteswap()
    return Vectors(data=cut.tobytes(), n_dims=n_dims, n_tokens=vectors.n_tokens)


def _check_dimensions(wanted: int | None, n_dims: int) -> None:
    """`n_dims` may be 0: not known yet."""
    if wanted is not None and n_dims and wanted > n_dims:
        raise BadRequest(f"'dimensions' is {wanted}; this model's vectors have {n_dims}.", param="dimensions")
