"""Engines on the tiny and on the real model, and a driver for each."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.testing.driving import Driver


def model_spec(folder: Path, **changes: Any) -> ModelSpec:
    """The model in `folder`, as the store would describe it."""
    files = tuple(ModelFile(role="model", path=str(path), name=path.name) for path in sorted(folder.iterdir()))
    return ModelSpec(**{"name": "test", "digest": "sha256:0", "format": "safetensors", "files": files, **changes})


def driver(engine: Any) -> Driver:
    """Answers run to their token limit: what a tiny random model means by an end is chance."""
    return Driver(engine, max_tokens=8, end_tokens=frozenset())


@pytest.fixture(scope="session")
def describe() -> Callable[..., ModelSpec]:
    """Makes a `ModelSpec` of a folder."""
    return model_spec


@pytest.fixture
def open_player(tiny_mlx: Path) -> Iterator[Callable[..., Driver]]:
    """Opens engines of the test's own, on the tiny model unless told otherwise."""
    from aiadmin_mlx.backend import MlxBackend

    players: list[Driver] = []

    def open_one(folder: Path = tiny_mlx, **options: Any) -> Driver:
        players.append(driver(MlxBackend().open_engine(model_spec(folder), EngineOptions(**options))))
        return players[-1]

    yield open_one
    for player in players:
        player.engine.close()


@pytest.fixture(scope="session")
def tiny(tiny_mlx: Path) -> Iterator[Driver]:
    """One engine on the tiny model for all tests that leave no trace in it but cached prefixes."""
    from aiadmin_mlx.backend import MlxBackend

    player = driver(MlxBackend().open_engine(model_spec(tiny_mlx), EngineOptions()))
    yield player
    player.engine.close()


@pytest.fixture(scope="session")
def real(smollm2_mlx: Path) -> Iterator[Driver]:
    """One engine on the real model: 7 tokens a second, so ask for little."""
    from aiadmin_mlx.backend import MlxBackend

    player = driver(MlxBackend().open_engine(model_spec(smollm2_mlx), EngineOptions()))
    yield player
    player.engine.close()
