"""Which build of llama.cpp this is, found without loading it."""

import hashlib
import os
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "llama-cpp-python"


def build_id() -> str:
    """Version of the distribution, and a digest of its libraries' sizes and times: a rebuild changes it."""
    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""
    digest = hashlib.sha256()
    for library in sorted(library_folder().glob("*")):
        status = library.stat()
        digest.update(f"{library.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return f"{DISTRIBUTION}-{version}-{digest.hexdigest()[:12]}"


def library_folder() -> Path:
    """Where the bindings find the native libraries, found without importing them."""
    if override := os.environ.get("LLAMA_CPP_LIB_PATH"):
        return Path(override)
    spec = find_spec("llama_cpp")
    return Path(spec.origin).parent / "lib" if spec and spec.origin else Path("nowhere")
