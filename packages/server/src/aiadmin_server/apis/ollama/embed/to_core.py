"""Requests for `/api/embed` and `/api/embeddings` to core's: pure, and called once a request by `route`."""

from collections.abc import Sequence

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.request import EmbedRequest
from aiadmin_core.specs.sampling import MAX_INT

from ....http.reading import Decoded
from ....serving.call import Call
from ....serving.sampling import keep_alive_s
from ..options import Options, load_options
from . import wire

MAX_INPUTS = 2048


def embed_call(decoded: Decoded[wire.NativeEmbedRequest]) -> Call:
    """All inputs are one request. Raises `BadRequest` naming the field that is wrong."""
    data = decoded.data
    if data.dimensions is not None and not 1 <= data.dimensions <= MAX_INT:
        raise BadRequest(f"'dimensions' must be between 1 and {MAX_INT}, not {data.dimensions}.", param="dimensions")
    inputs = [data.input] if isinstance(data.input, str) else data.input or []
    if len(inputs) > MAX_INPUTS:
        raise BadRequest(f"'input' holds at most {MAX_INPUTS} texts, not {len(inputs)}.", param="input")
    if len(inputs) > 1 and "" in inputs:
        param = f"input[{inputs.index('')}]"
        raise BadRequest(f"'{param}' must not be empty.", param=param)
    request = EmbedRequest(id=0, inputs=tuple(inputs), dimensions=data.dimensions, truncate=data.truncate is not False)
    return _call(decoded, request, data.options or Options(), names={"inputs": "input"})


def old_embed_call(decoded: Decoded[wire.OldEmbedRequest]) -> Call:
    """The same for one text."""
    data = decoded.data
    request = EmbedRequest(id=0, inputs=(data.prompt or "",), truncate=True)
    return _call(decoded, request, data.options or Options(), names={"inputs": "prompt", "inputs[0]": "prompt"})


def _call(
    decoded: Decoded[wire.NativeEmbedRequest] | Decoded[wire.OldEmbedRequest],
    request: EmbedRequest,
    options: Options,
    names: dict[str, str],
) -> Call:
    return Call(
        model=decoded.data.model,
        requests=(request,) if _any(request.inputs) else (),
        names=names,
        keep_alive_s=keep_alive_s(decoded.data.keep_alive),
        load=load_options(options),
        unknown=decoded.unknown,
    )


def _any(inputs: Sequence[object]) -> bool:
    return any(text != "" for text in inputs)
