"""Opening a model in this process: what a runner does, and the server in its in-process mode."""

import asyncio
from typing import cast

from ..backend import Backend, Engine, TokenEngine
from ..contracts import shortcoming
from ..errors import AiAdminError, ModelLoadFailed, PluginError
from ..plugins import Plugins
from ..specs.model import EngineOptions, ModelSpec


async def open_in_process(
    backend: Backend, model: ModelSpec, options: EngineOptions, *, plugins: Plugins | None = None
) -> Engine:
    """Open `model` on a worker thread: the event loop goes on. A `TokenEngine` is assembled into an `Engine`, which
    knows the dialects of `plugins` beside core's own.

    Raises `errors.AiAdminError`, of `ModelLoadFailed`'s kind unless the backend says otherwise.
    """
    try:
        return await asyncio.to_thread(opened, backend, model, options, plugins)
    except AiAdminError:
        raise
    except Exception as error:
        raise ModelLoadFailed(
            f"The backend '{backend.name}' could not open {model.name}: {type(error).__name__}: {error}",
            hint="Run `aiadmin doctor`; the runner's log has the traceback.",
        ) from error


def opened(backend: Backend, model: ModelSpec, options: EngineOptions, plugins: Plugins | None = None) -> Engine:
    """The same, on this thread; what the backend raises is left as it is.

    Raises `PluginError` for what is no engine.
    """
    engine = backend.open_engine(model, options)
    is_whole = hasattr(engine, "generate") or not hasattr(engine, "submit")
    if fault := shortcoming(engine, Engine if is_whole else TokenEngine):
        raise PluginError(f"The backend '{backend.name}' opened {fault}.", hint="Upgrade or mend its plugin.")
    if is_whole:
        return cast(Engine, engine)
    from ..assemble import assemble  # heavy, and only needed for an engine of the lower level

    return assemble(cast(TokenEngine, engine), model, dialects=plugins.collect("aiadmin_dialects") if plugins else ())
