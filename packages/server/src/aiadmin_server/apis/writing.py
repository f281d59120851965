"""All that an API imports from the server, in one place: what a plugin's API may count on.

Imports the web framework: only the module that an API's reference names should import this one.
"""

from ..http import ndjson, sse
from ..http.openapi import described
from ..http.problem import Problem
from ..http.reading import Decoded, read, read_as
from ..serving.answer import Answer
from ..serving.call import Call, Unplaced, portable
from ..serving.dependencies import RouterDependency, ServiceDependency
from ..serving.exchange import Opened
from ..serving.sampling import sampled
from ..serving.writer import ChunkWriter, LineWriter, Writer
from . import Api, tell_plainly

__all__ = [
    "Answer",
    "Api",
    "Call",
    "ChunkWriter",
    "Decoded",
    "LineWriter",
    "Opened",
    "Problem",
    "RouterDependency",
    "ServiceDependency",
    "Unplaced",
    "Writer",
    "described",
    "ndjson",
    "portable",
    "read",
    "read_as",
    "sampled",
    "sse",
    "tell_plainly",
]
