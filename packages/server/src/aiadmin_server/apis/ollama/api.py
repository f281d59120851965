"""What clients of Ollama, the command line among them, ask a running server."""

from .. import Api, tell_plainly
from .loaded import ps, stop
from .root import root, version

API = Api(
    name="ollama",
    title="",
    paths=("/api",),
    routes=(root, version, ps, stop),
    envelope=tell_plainly,
    absent=tuple(
        f"/api/{name}"
        for name in (
            "blobs",
            "chat",
            "copy",
            "create",
            "delete",
            "embed",
            "embeddings",
            "generate",
            "pull",
            "push",
            "show",
            "tags",
        )
    ),
)
