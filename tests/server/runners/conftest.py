"""The misbehaving plugin, installed for this process and for the runners it starts."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.backend import Backend
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.specs.request import GenerateRequest, TextInput

PLUGIN = Path(__file__).parents[2] / "plugins" / "misbehaving"


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Its backend; runners that are started find it on PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield importlib.import_module("aiadmin_misbehaving").MisbehavingBackend()
    sys.modules.pop("aiadmin_misbehaving")


@pytest.fixture
def model() -> Callable[..., ModelSpec]:
    """A model with these parameters."""

    def make(**parameters: Any) -> ModelSpec:
        return ModelSpec(name="m:latest", digest="sha256:0", format="other", files=(), parameters=parameters)

    return make


@pytest.fixture
def ask() -> Callable[[str], GenerateRequest]:
    """A request to continue a text."""
    return lambda text: GenerateRequest(id=7, input=TextInput(text=text))
