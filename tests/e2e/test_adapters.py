"""LoRA adapters as users have them: by a Modelfile, a request, an alias; beside the model without, in one engine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("adapters")]
TENSOR = "blk.29.ffn_down.weight"


@pytest.fixture(scope="module")
def lora(load_beside: Callable[[str], Any], smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter of the real model, strong enough to change what it says."""
    adapters = load_beside("_adapters")
    folder: Path = tmp_path_factory.mktemp("lora")
    shape = adapters.weights(smollm2_gguf, TENSOR).shape
    adapters.write_adapter(folder / "lora.gguf", {TENSOR: adapters.low_rank(*shape, seed=5, size=3.0)}, alpha=8.0)
    return folder / "lora.gguf"


@pytest.fixture(scope="module")
def mine(product: Any, lora: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("adapters")
    product = product.clone(folder / "state")
    (folder / "Modelfile").write_text(f"FROM smollm2\nADAPTER {lora}\n")
    product.run("create", "odd", "-f", str(folder / "Modelfile"))
    product.run("alias", "set", "less-odd", "smollm2", "--lora", "odd*0.5")
    return product


@pytest.fixture(scope="module")
def odd_server(mine: Any) -> Iterator[Any]:
    with mine.serve() as server:
        yield server


@pytest.fixture
def say(odd_server: Any) -> Any:
    def say(model: str, **more: Any) -> str:
        with openai.OpenAI(base_url=odd_server.base_url, api_key="x", max_retries=0, timeout=120) as client:
            answer = client.completions.create(
                model=model, prompt="The capital of France is", max_tokens=12, temperature=0, extra_body=more
            )
        return answer.choices[0].text

    return say


def test_a_model_with_an_adapter_and_the_one_without_share_an_engine_and_say_each_its_own(
    odd_server: Any, say: Any
) -> None:
    plain, odd = say("smollm2"), say("odd")
    assert plain != odd
    assert (say("smollm2"), say("odd")) == (plain, odd)
    assert [sorted(model["names"]) for model in odd_server.ps()] == [["odd:latest", "smollm2:latest"]]


def test_a_request_names_the_adapters_it_wants_and_how_strong(say: Any) -> None:
    assert say("smollm2", lora=[{"name": "odd"}]) == say("odd")
    assert say("odd", lora=[]) == say("smollm2") == say("odd", lora=[{"name": "odd", "scale": 0}])
    half = say("smollm2", lora=[{"name": "odd", "scale": 0.5}])
    assert half not in (say("odd"), say("smollm2"))
    assert say("less-odd") == half


def test_clients_of_ollama_may_name_them_too(odd_server: Any) -> None:
    body = {"model": "smollm2", "prompt": "The capital of France is", "raw": True, "stream": False}
    body["options"] = {"temperature": 0, "num_predict": 12}
    plain, odd = (
        httpx.post(f"{odd_server.url}/api/generate", json=body | more, timeout=60).json()["response"]
        for more in ({}, {"lora": [{"name": "odd"}]})
    )
    assert plain != odd


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ([{"name": "smollm2"}], "has no adapters"),
        ([{"name": "nobody"}], "is no model here"),
        ([{"name": "odd", "scale": 1e9}], "scale"),
        ("odd", "lora"),
    ],
)
def test_what_cannot_be_applied_is_a_400_by_name(say: Any, wanted: Any, words: str) -> None:
    with pytest.raises(openai.BadRequestError, match=words):
        say("smollm2", lora=wanted)


def test_an_engine_that_applies_none_says_so(mine: Any, tiny_mlx: Path, odd_server: Any, say: Any) -> None:
    mine.run("pull", str(tiny_mlx), "--as", "small")
    with pytest.raises(openai.BadRequestError, match="'lora'"):
        say("small", lora=[{"name": "odd"}])


def test_what_is_shown_of_the_model_makes_the_same_again(mine: Any) -> None:
    shown = mine.run("show", "odd", "--modelfile").stdout
    mine.run("create", "odd-again", "-f", "-", input=shown)
    files = [mine.run("show", name, "--json").stdout for name in ("odd", "odd-again")]
    assert all('"adapter"' in text for text in files)


def test_a_file_that_is_no_adapter_makes_no_model(mine: Any, smollm2_gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text(f"FROM smollm2\nADAPTER {smollm2_gguf}\n")
    failed = mine.run("create", "wrong", "-f", str(tmp_path / "Modelfile"), check=False)
    assert failed.returncode == 1
    assert "a model, not an adapter" in failed.stderr
