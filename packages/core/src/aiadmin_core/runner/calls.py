"""The optional protocols' methods as an `Invoke` carries them: which protocol, what arguments, what result."""

from typing import Any

import msgspec
from msgspec import Struct

from ..backend import Engine
from ..errors import BadRequest, UnsupportedParameter
from ..specs.capabilities import OptionalProtocol
from ..specs.request import GenerateRequest
from .messages import Invoke


class Tokenize(Struct, frozen=True, kw_only=True):
    input: str | GenerateRequest
    special: bool = False
    around: bool = False


class Pieces(Struct, frozen=True, kw_only=True):
    tokens: tuple[int, ...]


class Embed(Struct, frozen=True, kw_only=True):
    inputs: tuple[str | tuple[int, ...], ...]
    truncate: bool = False


class Score(Struct, frozen=True, kw_only=True):
    query: str
    documents: tuple[str, ...]
    truncate: bool = False


class LoadAdapter(Struct, frozen=True, kw_only=True):
    digest: str
    path: str


PROTOCOLS: dict[str, tuple[OptionalProtocol, type[Struct]]] = {
    "tokenize": ("tokenize", Tokenize),
    "pieces": ("tokenize", Pieces),
    "embed": ("embed", Embed),
    "score": ("score", Score),
    "load_adapter": ("adapters", LoadAdapter),
}


def require(protocols: frozenset[OptionalProtocol], method: str) -> None:
    """Raises `UnsupportedParameter` unless an engine with these `protocols` has `method`."""
    known = PROTOCOLS.get(method)
    if known is None or known[0] not in protocols:
        raise UnsupportedParameter("model", why=f"this model's engine cannot {method.replace('_', ' ')}.")


async def perform(engine: Engine, invoke: Invoke) -> Any:
    """Call `engine`'s method. Raises what it raises, `UnsupportedParameter`, or `BadRequest` for wrong arguments."""
    require(engine.capabilities.protocols, invoke.method)
    try:
        arguments = msgspec.convert(invoke.arguments, PROTOCOLS[invoke.method][1])
    except msgspec.ValidationError as error:
        raise BadRequest(f"{invoke.method}: {error}.") from None
    return await getattr(engine, invoke.method)(**msgspec.structs.asdict(arguments))
