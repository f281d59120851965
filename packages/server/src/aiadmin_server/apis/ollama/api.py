"""What clients of Ollama, the command line among them, ask a running server."""

from .. import Api
from .blobs import has_blob, put_blob
from .chat.route import chat
from .creating import create_model
from .embed.route import embed, embeddings
from .envelope import envelope
from .generate.route import generate
from .loaded import ps, stop
from .options import NAMES
from .pulling import pull_model
from .pushing import push_model
from .renaming import copy, remove
from .root import root, version
from .show import show
from .tags import tags

API = Api(
    name="ollama",
    title="",
    paths=("/api",),
    routes=(
        *(root, version, chat, generate, embed, embeddings, tags, show, ps, stop),
        *(pull_model, push_model, create_model, has_blob, put_blob, copy, remove),
    ),
    envelope=envelope,
    names=NAMES,
)
