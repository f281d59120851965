"""LoRA adapters: what they add to the logits, and that each request has its own."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.request import Adapter
from aiadmin_core.testing.driving import Driver

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def adapters(load_beside: Callable[[str], Any]) -> Any:
    return load_beside("_adapters")


@pytest.fixture(scope="module")
def tiny(open_driver: Callable[..., Driver], tiny_gguf: Path) -> Iterator[Driver]:
    driver = open_driver(path=tiny_gguf, n_ctx=2048, n_parallel=8, kv_cache_type="f32")
    yield driver
    driver.engine.close()


def load(driver: Driver, path: Path, digest: str) -> Adapter:
    asyncio.run(driver.engine.load_adapter(digest, path))
    return Adapter(digest=digest)


def distribution(driver: Driver, **options: Any) -> dict[int, float]:
    """The log-probabilities of the 20 likeliest first tokens."""
    asked = driver.submit(PROMPT, max_tokens=1, logprobs=20, **options).wait()
    assert asked.error is None
    (sampled,) = asked.choices[0].sampled
    return dict(sampled.top)


@pytest.mark.real_model
def test_an_adapter_of_the_real_model_adds_what_merging_it_into_the_weights_would(
    adapters: Any, open_driver: Callable[..., Driver], smollm2_gguf: Path, tmp_path: Path
) -> None:
    name = "blk.29.ffn_down.weight"  # the last: quantised layers behind it would round small differences up
    own = adapters.weights(smollm2_gguf, name)
    a, b = adapters.low_rank(*own.shape, seed=3, size=0.8)
    adapters.write_adapter(tmp_path / "lora.gguf", {name: (a, b)}, alpha=4.0)
    adapters.rewrite(smollm2_gguf, tmp_path / "own.gguf", {name: own})  # multiplied in float32 on both sides
    adapters.rewrite(smollm2_gguf, tmp_path / "merged.gguf", {name: own + 0.5 * (4.0 / 2) * b @ a})
    found = {}
    for file in ("own", "merged"):
        driver = open_driver(path=tmp_path / f"{file}.gguf", n_ctx=512, n_parallel=2)
        try:
            found[file] = distribution(driver)
            if file == "own":
                adapter = load(driver, tmp_path / "lora.gguf", "sha256:1")
                found["adapted"] = distribution(driver, adapters=(Adapter(digest=adapter.digest, scale=0.5),))
                found["again"] = distribution(driver)
        finally:
            driver.engine.close()

    assert found["again"] == found["own"]
    both = found["adapted"].keys() & found["merged"].keys()
    assert len(both) >= 18  # the least likely of the 20 may be others
    assert max(abs(found["adapted"][token] - found["merged"][token]) for token in both) < 0.02
    unchanged = [token for token in found["own"] if abs(found["adapted"].get(token, 0) - found["own"][token]) < 0.1]
    assert len(unchanged) < 5


@pytest.fixture(scope="module")
def french_and_law(adapters: Any, tiny: Driver, tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two adapters of the tiny model, loaded."""
    folder = tmp_path_factory.mktemp("adapters")
    found = []
    for seed, name in enumerate(["blk.0.attn_v.weight", "output.weight"]):
        shape = adapters.weights(tiny_gguf, name).shape
        path = folder / f"{seed}.gguf"
        adapters.write_adapter(path, {name: adapters.low_rank(*shape, seed=seed, size=3.0)}, alpha=2.0)
        found.append(load(tiny, path, f"sha256:{seed}"))
    return found


def test_requests_with_and_without_adapters_keep_their_own_answers_in_one_batch_of_eight(
    tiny: Driver, french_and_law: Any
) -> None:
    french, law = french_and_law
    weak = Adapter(digest=law.digest, scale=0.2)
    wanted = [(), (french,), (law,), (), (weak,), (french, law), (law, french), (Adapter(digest=law.digest, scale=0),)]

    def ask(adapters: Any) -> Any:
        return tiny.submit(PROMPT, max_tokens=20, adapters=adapters, ignore_eos=True)

    alone = [ask(one).wait().choices[0].tokens for one in wanted]
    together = [asked.wait().choices[0].tokens for asked in [ask(one) for one in wanted]]

    assert together == alone
    assert alone[5] == alone[6]
    assert alone[0] == alone[3] == alone[7]
    assert len({tuple(tokens) for tokens in alone}) == 5


def test_a_prefix_is_found_again_by_requests_of_the_same_adapters_only(tiny: Driver, french_and_law: Any) -> None:
    french, law = french_and_law
    prompt = "All work and no play makes Jack a dull boy. " * 8

    def n_cached(*adapters: Adapter) -> int:
        asked = tiny.submit(prompt, max_tokens=1, adapters=adapters).wait()
        assert asked.prefilled is not None
        return int(asked.prefilled.n_cached)

    assert [n_cached(french), n_cached(), n_cached(law)] == [0, 0, 0]
    assert all(n > 50 for n in (n_cached(french), n_cached(), n_cached(law)))


def test_what_is_no_adapter_of_the_model_is_refused_and_costs_nobody_anything(
    tiny: Driver, tiny_gguf: Path, adapters: Any, tmp_path: Path
) -> None:
    adapters.write_adapter(
        tmp_path / "other.gguf", {"blk.0.ffn_down.weight": adapters.low_rank(999, 77, seed=1)}, alpha=1
    )
    (tmp_path / "broken.gguf").write_bytes(tiny_gguf.read_bytes()[:5000])
    for path, why in [
        (tiny_gguf, "adapter"),
        (tmp_path / "other.gguf", "shape"),
        (tmp_path / "broken.gguf", "load"),
        (tmp_path / "missing.gguf", "No such file"),
    ]:
        with pytest.raises(BadRequest, match=why):
            load(tiny, path, f"sha256:{path.name}")
    asked = tiny.submit(PROMPT, adapters=(Adapter(digest="sha256:other.gguf"),)).wait()
    assert isinstance(asked.error, BadRequest)
    assert tiny.submit(PROMPT, max_tokens=2).wait().error is None
