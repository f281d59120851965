"""What the backend says before it loads anything, and how it refuses."""

import subprocess
import sys
import threading

import pytest

from aiadmin_core.backend import Backend
from aiadmin_core.errors import BadRequest, ModelLoadFailed
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_llamacpp.backend import PROBE, LlamaBackend


def spec(path, *, format="gguf"):
    return ModelSpec(name="m", digest="", format=format, files=(ModelFile(role="model", path=str(path)),))


def test_the_plugin_is_found_and_offers_the_backend():
    backend = load_plugins(only=["llamacpp"]).backends()["llamacpp"]

    assert isinstance(backend, Backend)


def test_nothing_native_is_loaded_by_the_plugin_or_by_inspecting(smollm2_gguf):
    code = f"""
import sys
from pathlib import Path
from aiadmin_llamacpp.plugin import aiadmin_backends
[backend] = aiadmin_backends()
assert backend.build_id()
assert backend.inspect(Path({str(smollm2_gguf)!r})).architecture == "llama"
assert not {{"llama_cpp", "numpy", "llguidance"}} & set(sys.modules), "heavy imports"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_serves_gguf_and_nothing_else(tmp_path):
    backend = LlamaBackend()

    assert backend.suitability(spec("m.gguf")) == 50
    assert backend.suitability(spec("m", format="safetensors")) is None


def test_inspecting_what_is_no_gguf_gives_nothing(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("hello")

    assert LlamaBackend().inspect(other) is None
    assert LlamaBackend().inspect(tmp_path) is None


def test_inspecting_a_broken_gguf_says_so(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\x00\x00\x00")

    with pytest.raises(BadRequest, match=r"broken\.gguf"):
        LlamaBackend().inspect(broken)


def test_health_names_the_library():
    health = LlamaBackend().health()

    assert health.ok
    assert "llama-cpp-python" in health.summary


@pytest.mark.parametrize("options", [EngineOptions(extra={"flash": 1})])
def test_unknown_options_are_refused_by_name(options, smollm2_spec):
    with pytest.raises(ModelLoadFailed, match="flash"):
        LlamaBackend().open_engine(smollm2_spec, options)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelLoadFailed, match="nowhere"):
        LlamaBackend().open_engine(spec(tmp_path / "nowhere.gguf"), EngineOptions())


def test_a_truncated_model_is_refused_with_llama_cpps_reason(tmp_path, smollm2_gguf):
    """The header is whole, the weights are not."""
    path = tmp_path / "half.gguf"
    path.write_bytes(smollm2_gguf.read_bytes()[:20_000_000])

    with pytest.raises(ModelLoadFailed, match=r"(?i)tensor|corrupt|incomplete"):
        LlamaBackend().open_engine(spec(path), EngineOptions(safe_mode=True))


def test_the_default_mode_decodes_or_dies_by_itself(smollm2_gguf):
    """In a process of its own: a build that crashes in its first step must do so while it loads."""
    code = f"""
from aiadmin_llamacpp.backend import LlamaBackend
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
file = ModelFile(role="model", path={str(smollm2_gguf)!r})
model = ModelSpec(name="m", digest="", format="gguf", files=(file,))
engine = LlamaBackend().open_engine(model, EngineOptions(n_ctx=512))
assert not any("safe mode" in note for note in engine.facts.notes)
engine.close()
"""
    result = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)

    assert result.returncode <= 0, result.stderr


def test_safe_mode_says_so_and_facts_are_complete(driver):
    facts = driver.engine.facts

    assert any(note.startswith("safe mode:") for note in facts.notes)
    assert (facts.architecture, facts.quantization, facts.n_vocab) == ("llama", "Q4_1", 49_152)
    assert (facts.n_ctx, facts.n_ctx_train, facts.n_embd, facts.device) == (4096, 8192, 576, "cpu")
    assert facts.n_params == 134_515_008
    assert facts.size_bytes > 90_000_000


def test_closing_ends_the_thread(open_driver):
    n_threads = threading.active_count()
    driver = open_driver(n_ctx=256, n_parallel=2)
    running = driver.submit("Hello", max_tokens=10_000, ignore_eos=True)
    driver.until(lambda: 0 in running.choices)

    driver.engine.close()

    assert "unloaded" in str(running.error)
    assert threading.active_count() == n_threads


def test_the_probe_outlives_what_the_library_logs():
    """On a GPU something is logged while it is asked; here it is a file that does not exist."""
    logs = 'import gc; gc.collect(); lib.llama_model_load_from_file(b"/none.gguf", lib.llama_model_default_params())'
    done = subprocess.run([sys.executable, "-c", f"{PROBE}\n{logs}"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
