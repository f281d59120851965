"""What a model takes: told beforehand, held to a limit, and an end of memory that costs nobody else anything."""

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_llamacpp.backend import LlamaBackend

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("memory")]
ASK = [{"role": "user", "content": "Say: this is a test."}]


def ask(server: Any) -> Any:
    with openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0, timeout=120) as client:
        return client.chat.completions.create(model="smollm2", messages=ASK, max_tokens=8)


@pytest.fixture
def limited(product: Any, tmp_path: Path) -> Any:
    """A server whose runners may take so many MiB."""
    return lambda mib: product.clone(tmp_path / "state").serve(AIADMIN_RUNNER_MEMORY=str(mib))


@pytest.mark.parametrize("mib", [40, 150, 230])
def test_a_load_that_runs_out_of_memory_is_an_error_that_says_so_and_nothing_is_remembered_of_a_crash(
    limited: Any, mib: int
) -> None:
    """In Python's libraries, in what llama.cpp checks, in what it asserts."""
    with limited(mib) as server:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(server)
        assert caught.value.code == "model_load_failed"
        assert "emory" in caught.value.message
        assert "safe mode" not in caught.value.message
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_within_a_limit_a_model_takes_what_its_file_told_within_a_tenth(limited: Any, smollm2_gguf: Path) -> None:
    """With one context: there is no room for a second."""
    with limited(700) as server:
        assert ask(server).choices[0].message.content
        taken = server.ps()[0]["size"]
    file = ModelFile(role="model", path=str(smollm2_gguf), size=smollm2_gguf.stat().st_size)
    model = ModelSpec(name="smollm2", digest="sha256:0", format="gguf", files=(file,))
    estimate = LlamaBackend().estimate_memory(model, EngineOptions(n_contexts=1))
    assert estimate is not None
    assert 0.9 < estimate.n_bytes / taken < 1.1


def test_pull_and_show_tell_what_a_model_takes_before_it_is_loaded(
    product: Any, smollm2_gguf: Path, tmp_path: Path
) -> None:
    mine = product.clone(tmp_path / "state")

    pulled = mine.run("pull", str(smollm2_gguf), "--as", "again").stderr
    shown = mine.run("show", "again", AIADMIN_CONTEXT_LENGTH="2048").stdout
    told = json.loads(mine.run("show", "again", "--json", AIADMIN_REPLICAS="2").stdout)["memory"]

    assert re.search(r"In memory it takes \d+ MB: 98 MB of weights, \d+ MB of cache \(8192 tokens", pulled)
    assert re.search(r"memory +\d+ MB: 98 MB of weights, \d+ MB of cache \(2048 tokens of context\)", shown)
    assert told["weights_bytes"] == 2 * smollm2_gguf.stat().st_size


def test_three_models_share_memory_for_two_and_nobody_is_refused(
    product: Any, tiny_gguf: Path, tiny_mlx: Path, tmp_path: Path, request: Any
) -> None:
    """Whoever is idle makes room, the pinned one last; each load and unload is explained."""
    n_requests = 60 if request.config.getoption("minutes") < 1 else 200
    mine = product.clone(tmp_path / "state")
    mine.run("pull", str(tiny_gguf), "--as", "tiny")
    mine.run("pull", str(tiny_mlx), "--as", "small")
    rng = random.Random(7)
    with (
        mine.serve("--log-level", "info", AIADMIN_MEMORY="900") as server,  # of some 610, 170 and 400
        openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0, timeout=120) as client,
        ThreadPoolExecutor(4) as pool,
    ):

        def one(number: int) -> str:
            model = rng.choices(["smollm2", "tiny", "small"], weights=[3, 4, 1])[0]
            keep_alive = {"smollm2": -1, "tiny": "5m", "small": 0}[model]
            answer = client.chat.completions.create(
                model=model, messages=ASK, max_tokens=2, extra_body={"keep_alive": keep_alive}
            )
            taken = sum(loaded["size"] for loaded in server.ps() if loaded["state"] == "ready")
            assert taken < 900 << 20, f"after request {number}"
            return str(answer.choices[0].finish_reason)

        assert set(pool.map(one, range(n_requests))) <= {"length", "stop"}
        loaded = [line for line in server.output if "Loaded " in line]
        gone = [line for line in server.output if "Unloaded " in line]
    assert len(loaded) >= 4
    assert all(" asked for as " in line for line in loaded)
    assert any("to make room for" in line or "keep_alive" in line for line in gone)
