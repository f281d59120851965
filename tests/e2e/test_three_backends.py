"""One server, three backends: two of ours and a stranger's."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("backends")]
MODELS = ["tiny-gguf", "tiny-mlx", "echo"]


@pytest.fixture(scope="module")
def server(
    product: Any, tiny_gguf: Path, tiny_mlx: Path, echo_site: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    own = product.clone(tmp_path_factory.mktemp("three") / "state")
    own.run("pull", str(tiny_gguf), "--as", "tiny-gguf", "--in-place")
    own.run("pull", str(tiny_mlx), "--as", "tiny-mlx", "--in-place")
    own.environment["PYTHONPATH"] = str(echo_site)
    with own.serve(AIADMIN_PLUGINS="llamacpp,mlx,echo") as server:
        yield server


def answer(server: Any, model: str) -> str:
    body = {"model": model, "max_tokens": 6, "messages": [{"role": "user", "content": "hello there"}]}
    response = httpx.post(f"{server.base_url}chat/completions", json=body, timeout=90)
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def test_models_of_all_three_are_listed_with_their_backend(server: Any) -> None:
    models = httpx.get(f"{server.base_url}models").json()["data"]

    assert set(MODELS) <= {model["id"].partition(":")[0] for model in models}


def test_each_answers_and_survives_kill_9_of_every_runner(server: Any) -> None:
    assert all(answer(server, model) for model in MODELS)

    backends = {str(row["backend"]): int(str(row["pid"])) for row in server.ps()}
    assert set(backends) == {"llamacpp", "mlx", "echo"}
    for pid in backends.values():
        os.kill(pid, signal.SIGKILL)
    server.eventually(lambda it: not it.ps())

    assert all(answer(server, model) for model in MODELS)
    assert not set(backends.values()) & {int(str(row["pid"])) for row in server.ps()}
