"""What is asked for vectors or scores instead of text: `exchange` has it done here, as events like any other's."""

import array
import math
import sys
from typing import cast

from aiadmin_core.backend import Engine, SupportsEmbed, SupportsScore
from aiadmin_core.batches import Batches
from aiadmin_core.errors import BadRequest, PluginError
from aiadmin_core.specs.events import Embedded, Finished, Scored, Started, Usage
from aiadmin_core.specs.request import EmbedRequest, ScoreRequest
from aiadmin_core.specs.vectors import Vectors

FLOAT_BYTES = 4


async def reading(engine: Engine, request: EmbedRequest | ScoreRequest) -> Batches:
    """`Started`, the result, `Finished`, in one batch. Closing it ends the work.

    Raises what the engine raises, `BadRequest` for more dimensions than there are, and `PluginError` for a result that
    is not what was asked for.
    """
    result: Embedded | Scored
    if isinstance(request, EmbedRequest):
        _check_dimensions(request.dimensions, engine.facts.n_embd)
        vectors = await cast(SupportsEmbed, engine).embed(request.inputs, truncate=request.truncate)
        n_tokens, n_wanted, n_numbers = vectors.n_tokens, len(request.inputs), vectors.n_dims
        result = Embedded(request.id, vectors)
    else:
        scores = await cast(SupportsScore, engine).score(request.query, request.documents)
        n_tokens, n_wanted, n_numbers = scores.n_tokens, len(request.documents), 1
        result = Scored(request.id, scores)
    data = result.vectors.data if isinstance(result, Embedded) else result.scores.data
    if len(n_tokens) != n_wanted or len(data) != n_wanted * n_numbers * FLOAT_BYTES:
        raise PluginError("The engine gave back another number of results than it was asked for.")
    if isinstance(result, Embedded) and isinstance(request, EmbedRequest) and request.dimensions is not None:
        result = Embedded(request.id, shortened(result.vectors, request.dimensions))
    n = sum(n_tokens)
    yield (Started(request.id, n), result, Finished(request.id, "stop", Usage(prompt_tokens=n)))


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
