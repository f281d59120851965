"""What clients of Ollama, the command line among them, ask a running server."""

from .. import Api, tell_plainly
from .loaded import ps, stop
from .root import root, version

API = Api(name="ollama", title="Ollama's", paths=("/api",), routes=(root, version, ps, stop), envelope=tell_plainly)
