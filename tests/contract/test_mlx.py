"""The conformance kit on the MLX backend: all of it on a tiny random model, which answers at once, and on the real
model (seven tokens a second) what depends on sense."""

import asyncio
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest

from aiadmin_core.backend import Engine
from aiadmin_core.specs.events import TokenLogprob
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import TextInput
from aiadmin_core.testing.asking import CollectedAnswer, NotClaimed, collect, request
from aiadmin_core.testing.conformance import BEHAVIOURS, Behaviour, check
from aiadmin_core.testing.opening import open_for_test

Opened = tuple[asyncio.Runner, Engine]

NOT_CLAIMED: set[str] = set()

SENSE = {
    "an_answer_has_text",
    "characters_are_whole",
    "a_stop_string_ends_the_answer_and_never_leaks",
}


def opened(folder: Path) -> Iterator[Opened]:
    engine = open_for_test("mlx", str(folder))
    with asyncio.Runner() as runner:
        yield runner, engine
        runner.run(engine.close())


@pytest.fixture(scope="module")
def tiny(tiny_mlx: Path) -> Iterator[Opened]:
    yield from opened(tiny_mlx)


@pytest.fixture(scope="module")
def real(smollm2_mlx: Path) -> Iterator[Opened]:
    yield from opened(smollm2_mlx)


def hold(behaviour: Behaviour, engine: Opened) -> None:
    try:
        engine[0].run(check(behaviour, engine[1]))
    except NotClaimed:
        assert behaviour.__name__ in NOT_CLAIMED  # everything else the kit knows is claimed


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))
def test_conformance(behaviour: Behaviour, tiny: Opened) -> None:
    hold(behaviour, tiny)


@pytest.mark.real_model
@pytest.mark.parametrize(
    "behaviour", [one for one in BEHAVIOURS if attrgetter("__name__")(one) in SENSE], ids=attrgetter("__name__")
)
def test_conformance_of_the_real_model(behaviour: Behaviour, real: Opened) -> None:
    hold(behaviour, real)


async def greedy_tokens(engine: Engine, prompt: str, n_tokens: int) -> list[TokenLogprob]:
    sampling = {"temperature": 0.0, "max_tokens": n_tokens, "logprobs": 2, "ignore_eos": True}
    asked = request(engine, input=TextInput(text=prompt), **sampling)
    return CollectedAnswer(await collect(engine, asked)).logprobs


@pytest.mark.parametrize(
    ("cache_type", "rounding"),
    [("f16", 0.02), (None, 0.3)],
    ids=["a cache like MLX's", "the cache llama.cpp takes unasked"],
)
def test_llama_cpp_and_mlx_agree_on_one_model(
    tiny: Opened, tiny_gguf: Path, cache_type: str | None, rounding: float
) -> None:
    """The same float32 weights give the same tokens at temperature 0, to within what rounding does to their logits.

    Most that log-probabilities differed by: 0.010 with `f16` (as with `f32`), 0.13 with `bf16`, 0.19 with `q8_0`, the
    default on processors: that is what it costs on weights that are random, and so have no small activations.
    """
    pytest.importorskip("llama_cpp")
    runner, engine = tiny
    other = open_for_test("llamacpp", str(tiny_gguf), EngineOptions(n_ctx=2048, kv_cache_type=cache_type))
    try:
        for prompt in ("The quick brown fox", "1 2 3", "Zürich 🙂"):
            ours = runner.run(greedy_tokens(engine, prompt, 24))
            theirs = runner.run(greedy_tokens(other, prompt, 24))
            for mine, yours in zip(ours, theirs, strict=True):
                if mine.token != yours.token:
                    assert mine.top[0].logprob - mine.top[1].logprob < rounding
                    break
                assert mine.logprob == pytest.approx(yours.logprob, abs=rounding)
    finally:
        runner.run(other.close())
