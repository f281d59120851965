"""Opening a model in this process: what a runner does, and the server in its in-process mode."""

import asyncio
from typing import cast

from ..backend import Backend, Engine
from ..errors import AiAdminError, ModelLoadFailed
from ..specs.model import EngineOptions, ModelSpec


async def open_in_process(backend: Backend, model: ModelSpec, options: EngineOptions) -> Engine:
    """Open `model` on a worker thread: the event loop goes on. A `TokenEngine` is assembled into an `Engine`.

    Raises `errors.AiAdminError`, of `ModelLoadFailed`'s kind unless the backend says otherwise.
    """
    try:
        return await asyncio.to_thread(_open, backend, model, options)
    except AiAdminError:
        raise
    except Exception as error:
        raise ModelLoadFailed(
            f"The backend '{backend.name}' could not open {model.name}: {type(error).__name__}: {error}",
            hint="Run `aiadmin doctor`; the runner's log has the traceback.",
        ) from error


def _open(backend: Backend, model: ModelSpec, options: EngineOptions) -> Engine:
    opened = backend.open_engine(model, options)
    if hasattr(opened, "generate"):
        return cast(Engine, opened)
    from ..assemble import assemble  # heavy, and only needed for an engine of the lower level

    return assemble(opened, model)
