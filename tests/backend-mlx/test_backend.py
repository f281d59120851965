"""What the server learns without loading the native library."""

import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from aiadmin_core.backend import Backend
from aiadmin_core.errors import BadRequest
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.model import ModelSpec
from aiadmin_mlx import backend as module
from aiadmin_mlx.backend import MlxBackend

SAFETENSORS = ModelSpec(name="m", digest="sha256:0", format="safetensors", files=())
GGUF = ModelSpec(name="m", digest="sha256:0", format="gguf", files=())


def test_the_plugin_offers_the_backend():
    backend = load_plugins(only=["mlx"]).backends()["mlx"]

    assert isinstance(backend, Backend)
    assert backend.name == "mlx"


def test_neither_importing_nor_asking_loads_a_native_library(tiny_mlx):
    code = (
        "import sys; from pathlib import Path; from aiadmin_mlx.plugin import aiadmin_backends;"
        f"b = aiadmin_backends()[0]; b.inspect(Path({str(tiny_mlx)!r})); b.build_id();"
        "print({name.partition('.')[0] for name in sys.modules} & {'mlx', 'mlx_lm', 'numpy', 'tokenizers'})"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("system", "machine", "score"), [("Darwin", "arm64", 100), ("Linux", "x86_64", 50), ("Linux", "aarch64", 50)]
)
def test_apple_silicon_is_what_it_suits_best(monkeypatch, system, machine, score):
    monkeypatch.setattr(module.platform, "system", lambda: system)
    monkeypatch.setattr(module.platform, "machine", lambda: machine)

    assert MlxBackend().suitability(SAFETENSORS) == score
    assert MlxBackend().suitability(GGUF) is None


def test_without_mlx_it_suits_nothing_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)

    assert MlxBackend().suitability(SAFETENSORS) is None
    health = MlxBackend().health()
    assert not health.ok
    assert "pip install" in health.hint


def test_it_knows_a_model_folder_and_a_file_in_one(tiny_mlx, tmp_path):
    backend = MlxBackend()

    assert backend.inspect(tiny_mlx).architecture == "llama"
    assert backend.inspect(tiny_mlx / "model.safetensors").architecture == "llama"
    assert backend.inspect(tmp_path) is None
    assert backend.inspect(tiny_mlx / "config.json") is None
    assert backend.inspect(tmp_path / "nowhere") is None


def test_a_broken_model_folder_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"short")

    with pytest.raises(BadRequest):
        MlxBackend().inspect(tmp_path)


def test_the_build_is_the_versions_of_the_native_libraries():
    assert f"mlx {metadata.version('mlx')}" in MlxBackend().build_id()


def test_health_computes_something_in_another_process():
    health = MlxBackend().health()

    assert health.ok, health
    assert metadata.version("mlx-lm") in health.summary


def test_health_reports_a_crash_with_its_last_words(monkeypatch):
    monkeypatch.setattr(module, "_PROBE", "import os; raise SystemExit('no device')")

    health = MlxBackend().health()

    assert not health.ok
    assert "no device" in health.summary


@pytest.mark.parametrize(
    ("platform", "machine", "wanted"),
    [
        ("darwin", "arm64", {"mlx", "mlx-lm"}),
        ("linux", "x86_64", {"mlx[cpu]", "mlx-lm"}),
        ("win32", "AMD64", {"mlx-lm"}),
    ],
)
def test_pip_installs_what_the_platform_needs(platform, machine, wanted):
    """mlx brings Metal by itself; on Linux it computes only with an extra; there is none for Windows."""
    system = {"darwin": "Darwin", "linux": "Linux", "win32": "Windows"}[platform]
    environment = {"sys_platform": platform, "platform_machine": machine, "platform_system": system, "extra": ""}
    requirements = [Requirement(line) for line in metadata.requires("aiadmin-backend-mlx") or []]

    chosen = [one for one in requirements if one.marker is None or one.marker.evaluate(environment)]

    names = {f"{one.name}[{','.join(sorted(one.extras))}]" if one.extras else one.name for one in chosen}
    assert {name for name in names if name.startswith("mlx")} == wanted
    assert "aiadmin-core[engine]" in names


def test_mlx_lm_cannot_be_newer_than_what_was_tested():
    """The engine calls mlx-lm's caches and model loader, which may change from one minor version to the next."""
    requirements = [Requirement(line) for line in metadata.requires("aiadmin-backend-mlx") or []]

    assert any(one.name == "mlx-lm" and "<0.33" in str(one.specifier) for one in requirements)
