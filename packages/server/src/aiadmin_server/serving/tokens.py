"""What is asked for tokens instead of text: `exchange` has it done here, as events like any other's."""

from typing import cast

from aiadmin_core.backend import Engine, SupportsTokenize
from aiadmin_core.batches import Batches
from aiadmin_core.errors import PluginError
from aiadmin_core.specs.events import Finished, Tokenized
from aiadmin_core.specs.request import TokenizeRequest


async def tokenizing(engine: Engine, request: TokenizeRequest) -> Batches:
    """The tokens and `Finished`, in one batch: no prompt was read, and none is counted. Raises what the engine raises,
    and `PluginError` for a result that is not what was asked for."""
    asked = cast(SupportsTokenize, engine)
    if isinstance(request.input, tuple):
        tokens = list(request.input)
    else:
        tokens = await asked.tokenize(request.input, special=request.special, around=request.around)
    pieces = await asked.pieces(tokens) if request.pieces else []
    if request.pieces and len(pieces) != len(tokens):
        raise PluginError("The engine gave back another number of pieces than there are tokens.")
    yield (Tokenized(request.id, tuple(tokens), tuple(pieces)), Finished(request.id, "stop"))
