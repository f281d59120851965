"""The files of a model as llama.cpp loads them. Used by what opens it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.specs.model import ModelSpec

from .. import bert, gguf


@contextmanager
def gguf_paths(model: ModelSpec) -> Iterator[list[str]]:
    """The model's parts in order. One that is no GGUF is made one, which is gone when the context ends: by then it is
    loaded."""
    if model.format == "gguf":
        yield parts_of(model)
        return
    with tempfile.TemporaryDirectory(prefix="aiadmin-gguf-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.gguf"
        try:
            bert.convert(bert.files_of(model), path)
        except (AiAdminError, OSError, KeyError) as error:
            raise ModelLoadFailed(
                f"'{model.name}' cannot be made a GGUF: {error}", hint=f"Pull it again: aiadmin pull {model.name}"
            ) from error
        yield [str(path)]


def parts_of(model: ModelSpec) -> list[str]:
    """The files of a GGUF in order. Each header is read first: llama.cpp says little about broken files."""
    paths = [file.path for file in model.files if file.role == "model"]
    if not paths:
        raise ModelLoadFailed(f"'{model.name}' has no model file.", hint=f"Pull it again: aiadmin pull {model.name}")
    for path in paths:
        try:
            gguf.read_whole(Path(path))
        except (OSError, AiAdminError) as error:
            raise ModelLoadFailed(
                f"The model file cannot be read: {error}", hint=f"Pull it again: aiadmin pull {model.name}"
            ) from error
    return paths
