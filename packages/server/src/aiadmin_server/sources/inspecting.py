"""What a fetched model's header says, as an installed backend reads it. Used by `pull`, before anything is stored."""

import logging
from collections.abc import Mapping
from pathlib import Path

from aiadmin_core.backend import Backend, ModelInfo
from aiadmin_core.errors import AiAdminError, PluginError, PullFailed
from aiadmin_core.safetensors import read_header
from aiadmin_core.sources import FetchedModel

from .local import GGUF_MAGIC

LOG = logging.getLogger("aiadmin.server")

COMMON_FORMATS = frozenset({"gguf", "safetensors", "remote"})
"""Those that sources deliver by themselves."""


def inspect(fetched: FetchedModel, backends: Mapping[str, Backend]) -> ModelInfo | None:
    """Its facts; None where it looks like a model and no installed backend knows the format.

    Raises `PullFailed` for what is no model or a broken one, `PluginError` where the backend that should know failed.
    """
    path = header_path(fetched)
    if path is None:
        return None
    failures: list[str] = []
    for name, backend in backends.items():
        try:
            info = backend.inspect(path)
            if not isinstance(info, ModelInfo | None):
                raise TypeError(f"`inspect` gave a {type(info).__name__}, which is no ModelInfo")
        except AiAdminError as error:
            raise _unusable(path, error) from error
        except Exception as error:  # a plugin may raise anything, and another backend may know better
            failures.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if info is not None:
            return info
    if failures:
        raise PluginError(f"'{path.name}' could not be inspected: {'; '.join(failures)}.", hint="Report it.")
    if not _looks_like_model(fetched, path):
        raise PullFailed(
            f"'{path.name}' is no model that any installed backend knows.",
            hint="`aiadmin doctor` lists the backends; a model is a GGUF file or a folder of safetensors.",
        )
    return None


def own_format(path: Path, backends: Mapping[str, Backend]) -> str:
    """The format of a file or folder that a backend recognises as its own, beside those every source knows; "" where
    none does. A backend that fails recognises nothing.

    Raises `PullFailed` where one says that it is of its format and broken, and no other recognises it.
    """
    broken: AiAdminError | None = None
    known = False
    for backend in backends.values():
        info = None
        try:
            info = backend.inspect(path)
        except AiAdminError as error:
            broken = broken or error
        except Exception:  # a plugin may raise anything
            LOG.debug("The backend '%s' cannot inspect '%s'", backend.name, path, exc_info=True)
        if info is not None and info.format not in COMMON_FORMATS:
            return info.format
        known = known or info is not None
    if broken is not None and not known:
        raise _unusable(path, broken) from broken
    return ""


def _unusable(path: Path, error: AiAdminError) -> PullFailed:
    return PullFailed(f"'{path.name}' cannot be used: {error.message}", hint=error.hint)


def header_path(fetched: FetchedModel) -> Path | None:
    """What a backend is shown: the model file, or the folder of a model that is several kinds of file."""
    file = next((file for file in fetched.files if file.role == "model"), next(iter(fetched.files), None))
    if file is None:
        return None
    is_folder = fetched.format == "safetensors" or (fetched.format not in COMMON_FORMATS and len(fetched.files) > 1)
    return file.path.parent if is_folder else file.path


def _looks_like_model(fetched: FetchedModel, path: Path) -> bool:
    """Without a backend to ask, the first bytes must do, and that safetensors are whole. Raises `PullFailed`."""
    if fetched.format == "safetensors":
        for weights in fetched.files:
            if weights.role == "model":
                _check_whole(weights.path)
    if fetched.format != "gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == GGUF_MAGIC


def _check_whole(path: Path) -> None:
    try:
        read_header(path)
    except AiAdminError as error:
        raise PullFailed(f"'{path.name}' cannot be used: {error.message}", hint=error.hint) from error
