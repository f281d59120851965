"""Files of the store under their own names: what reads a folder looks for `config.json`, and a blob is called by its
digest."""

import os
from collections.abc import Iterable
from pathlib import Path


def laid_out(files: Iterable[tuple[str, Path]], folder: Path) -> list[Path]:
    """Where in `folder` each of `files` (its name, where it lies) is now. Links; nothing is copied."""
    paths: list[Path] = []
    for name, source in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            try:
                path.symlink_to(source)
            except OSError:  # Windows asks for a right
                os.link(source, path)
        paths.append(path)
    return paths
