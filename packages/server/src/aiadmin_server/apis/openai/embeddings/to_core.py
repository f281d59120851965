"""Requests for `/v1/embeddings` to core's: pure, and called once a request by `route`."""

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.request import EmbedRequest
from aiadmin_core.specs.sampling import MAX_INT

from ....http.reading import Decoded
from ....serving.call import Call
from ....serving.sampling import keep_alive_s
from ..extensions import told_apart
from ..inputs import separate
from ..sampling import check_ranges
from ..unplaced import unplaced
from . import wire

RANGES: dict[str, tuple[float, float]] = {"dimensions": (1, MAX_INT)}


def embedding_call(decoded: Decoded[wire.EmbeddingRequest]) -> Call:
    """As `chat_call`. All inputs are one request."""
    data = decoded.data
    check_ranges(data, RANGES)
    asked, unknown = told_apart(decoded.unknown)
    inputs = separate(data.input, "input")
    if "" in inputs:
        param = "input" if isinstance(data.input, str) else f"input[{inputs.index('')}]"
        raise BadRequest(f"'{param}' must not be empty.", param=param)
    request = EmbedRequest(id=0, inputs=inputs, dimensions=data.dimensions, truncate=bool(data.truncate))
    return Call(
        model=data.model,
        requests=(request,),
        names={"inputs": "input"},
        keep_alive_s=keep_alive_s(data.keep_alive),
        unplaced=(*unplaced(data), *asked),
        unknown=unknown,
    )
