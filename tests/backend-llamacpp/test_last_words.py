"""What is left in the log of a runner that llama.cpp has ended."""

import subprocess
import sys

from aiadmin_llamacpp.build import library_folder

ABORT = """
import ctypes, faulthandler, sys
from aiadmin_core.errors import ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_llamacpp.backend import LlamaBackend
faulthandler.enable()
try:
    LlamaBackend().open_engine(ModelSpec(name="m", digest="", format="gguf", files=()), EngineOptions())
except ModelLoadFailed:
    pass
ctypes.CDLL(sys.argv[1]).ggml_abort(b"kv.cpp", 7, b"GGML_ASSERT(%s) failed", b"n_tokens > 0")
"""


def test_an_assertion_is_among_the_last_words_and_no_debuggers_stack_is():
    """`ggml_abort` has gdb print one where it is installed."""
    library = next(library_folder().glob("*ggml-base*"))
    ended = subprocess.run([sys.executable, "-c", ABORT, str(library)], capture_output=True, text=True, timeout=60)
    assert ended.returncode < 0
    said = [line for line in ended.stderr.splitlines() if line.strip()]
    at = said.index("kv.cpp:7: GGML_ASSERT(n_tokens > 0) failed")
    assert said[at + 1].startswith("Fatal Python error: Aborted")
    assert "gdb" not in ended.stderr + ended.stdout
    assert "[Inferior" not in ended.stdout
