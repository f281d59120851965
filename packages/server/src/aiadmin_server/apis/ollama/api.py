"""What clients of Ollama, the command line among them, ask a running server."""

from .. import Api
from .chat.route import chat
from .envelope import envelope
from .generate.route import generate
from .loaded import ps, stop
from .options import NAMES
from .root import root, version

API = Api(
    name="ollama",
    title="",
    paths=("/api",),
    routes=(root, version, chat, generate, ps, stop),
    envelope=envelope,
    names=NAMES,
    absent=tuple(
        f"/api/{name}"
        for name in ("blobs", "copy", "create", "delete", "embed", "embeddings", "pull", "push", "show", "tags")
    ),
)
