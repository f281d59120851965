"""A model's files as the one folder that mlx-lm reads. Used while a model is being loaded."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.model import ModelFile, ModelSpec


@contextmanager
def model_folder(model: ModelSpec) -> Iterator[Path]:
    """The folder `model`'s files lie in under their own names, or a temporary one of links to them (blobs are named
    by their digest). Gone when the context ends: by then the weights must be in memory.

    Raises `ModelLoadFailed` where a file is missing or its name leads out of the folder.
    """
    if model.format == "gguf":
        with _converted(model) as folder:
            yield folder
        return
    files = [file for file in model.files if file.role not in ("adapter", "draft", "projector")]
    for file in files:
        if not Path(file.path).is_file():
            raise ModelLoadFailed(
                f"{model.name}: {_name(file)} is not at {file.path} any more.",
                hint=f"Run `aiadmin pull {model.name}` to fetch it again.",
            )
    names = names_for_loading([_name(file) for file in files])
    folders = {Path(file.path).parent for file in files}
    if len(folders) == 1 and [Path(file.path).name for file in files] == names:
        yield folders.pop()
        return
    with tempfile.TemporaryDirectory(prefix="aiadmin-mlx-", ignore_cleanup_errors=True) as temporary:
        for file, name in zip(files, names, strict=True):
            _place(Path(file.path), _inside(Path(temporary), name, model))
        yield Path(temporary)


@contextmanager
def _converted(model: ModelSpec) -> Iterator[Path]:
    """A temporary folder made of the model's GGUF file. It takes two bytes a parameter."""
    from .gguf.converting import convert

    file = model.file("model")
    assert file is not None
    with tempfile.TemporaryDirectory(prefix="aiadmin-mlx-", ignore_cleanup_errors=True) as temporary:
        try:
            convert(Path(file.path), Path(temporary))
        except OSError as error:
            raise ModelLoadFailed(
                f"{model.name} could not be converted for MLX in '{temporary}' ({error.strerror or error}).",
                hint="It takes two bytes a parameter there: free some room, or set TMPDIR to a folder on another disk.",
            ) from error
        yield Path(temporary)


def names_for_loading(names: list[str]) -> list[str]:
    """mlx-lm loads model*.safetensors and nothing else: weights that are all called otherwise get that prefix."""
    weights = [name for name in names if name.endswith(".safetensors")]
    if any(name.startswith("model") for name in weights):
        return names
    return [f"model-{name}" if name in weights else name for name in names]


def _name(file: ModelFile) -> str:
    return file.name or Path(file.path).name


def _inside(folder: Path, name: str, model: ModelSpec) -> Path:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise ModelLoadFailed(
            f"{model.name}: a file called {name!r} would lie outside the model.",
            hint="Remove the model and pull it from a source you trust.",
        )
    return folder / path


def _place(source: Path, target: Path) -> None:
    """Link `target` to `source`; copy where the system allows no link (Windows without developer mode)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
