"""Opens a backend's engine in this process, for the kit."""

from pathlib import Path

from ..backend import Backend, Engine
from ..errors import BadRequest, NoBackend
from ..plugins import load_plugins
from ..runner.opening import opened
from ..specs.model import EngineOptions, FileRole, ModelFile, ModelSpec
from .echo import EchoBackend


def open_for_test(name: str, path: str, options: EngineOptions | None = None) -> Engine:
    """The engine that the installed backend `name` opens for the model in `path` ("" for none).

    Raises `NoBackend` or `BadRequest` where there is no such backend or model.
    """
    plugins = load_plugins()
    backends: dict[str, Backend] = {EchoBackend.name: EchoBackend()} | plugins.backends()
    if name not in backends:
        broken = "; ".join(f"{plugin.name}: {plugin.trouble}" for plugin in plugins.broken)
        hint = f"There is {', '.join(backends)}." + (f" Broken: {broken}" if broken else "")
        raise NoBackend(f"No installed plugin offers a backend named {name!r}.", hint=hint)
    backend = backends[name]
    model = model_at(backend, Path(path)) if path else ModelSpec(name="test", digest="", format="other", files=())
    return opened(backend, model, options or EngineOptions(n_ctx=2048), plugins)


def model_at(backend: Backend, path: Path) -> ModelSpec:
    """The model in a file or folder, as `backend` sees it."""
    path = path.absolute()
    if not path.exists():
        raise BadRequest(f"There is no model at {path}.")
    info = backend.inspect(path)
    if info is None:
        raise BadRequest(f"The backend {backend.name!r} does not know what is at {path}.")
    paths = sorted(path.iterdir()) if path.is_dir() else [path]
    files = tuple(ModelFile(role=_role(file, path), path=str(file), name=file.name) for file in paths)
    return ModelSpec(name=path.stem, digest="", format=info.format, files=files)


def _role(file: Path, model: Path) -> FileRole:
    if file == model or file.suffix in (".safetensors", ".gguf"):
        return "model"
    return "tokenizer" if file.name.startswith(("tokenizer", "vocab", "merges")) else "config"
