"""A store in a temporary folder, and files to put into it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.store.store import ModelStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(root: Path) -> ModelStore:
    return ModelStore(root)


@pytest.fixture
def fetched(tmp_path: Path) -> Callable[..., FetchedModel]:
    """Makes what a source would deliver: one small file with these bytes."""

    def make(content: bytes = b"GGUF weights", *, in_place: bool = False, **fields: object) -> FetchedModel:
        path = tmp_path / f"file-{content.hex()[:32]}.gguf"
        path.write_bytes(content)
        return FetchedModel(files=(FetchedFile(path=path, keep_in_place=in_place),), format="gguf", **fields)

    return make
