"""Changes the settings file: one line at a time, comments and all others as they are. Used by `aiadmin config`."""

import os
import stat
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from aiadmin_core.errors import BadRequest

from .store.disk import disk_errors, make_folder, temporary_path

PRIVATE = 0o600
"""Others may not read it: it may hold a key."""


def put(path: Path, key: str, text: str) -> None:
    """Set `key`. Raises `BadRequest` for a file that cannot be read, `StoreError` for one that cannot be written."""
    document = _read(path)
    document[key] = int(text) if text.isdecimal() else text
    _write(path, document)


def remove(path: Path, key: str) -> bool:
    """Take `key` out; False where it is not there. Raises what `put` does."""
    document = _read(path)
    if key not in document:
        return False
    document.remove(key)
    _write(path, document)
    return True


def _read(path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return tomlkit.document()
    except (OSError, ValueError, TOMLKitError) as error:
        raise BadRequest(
            f"The settings file '{path}' cannot be read: {error}.", hint="Correct it, or move it away."
        ) from None


def _write(path: Path, document: tomlkit.TOMLDocument) -> None:
    target = path.resolve()  # a link into a folder of dotfiles stays one
    with disk_errors("writing the settings", target.parent):
        make_folder(target.parent)
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else PRIVATE
        aside = temporary_path(target.parent)
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
                file.write(tomlkit.dumps(document).encode())
                file.flush()
                os.fsync(file.fileno())
            aside.chmod(mode)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
