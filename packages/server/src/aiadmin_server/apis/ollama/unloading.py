"""What asks nothing of a model and lets it stay for no time: it is unloaded. Used by `chat` and `generate`."""

import msgspec
from litestar import Response

from ...serving.call import Call
from ...serving.ports import RouterPort
from .answering import NativeWriter, Piece


def unloads(call: Call) -> bool:
    """Whether the model is to go, and nothing else."""
    return not call.requests and call.keep_alive_s == 0


async def unloaded(router: RouterPort, call: Call, writer: NativeWriter, *, stream: bool) -> Response[bytes]:
    """Unload it, when it has answered what it was asked before; one that is not loaded is not loaded for this.

    Raises `ModelNotFound`.
    """
    await router.unload(call.model)
    line = writer.line(Piece(end={"done_reason": "unload"}))
    if stream:
        return Response(writer.frame(line), media_type=dict(writer.headers)[b"content-type"].decode())
    return Response(msgspec.json.encode(line), media_type="application/json")
