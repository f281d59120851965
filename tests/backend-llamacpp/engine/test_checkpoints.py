"""Models whose state cannot be cut find the beginnings of their prompts again, as states saved on the way."""

import pytest

from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.testing.driving import Driver

SYSTEM = "The rules of the house are as follows: be kind, be brief, and never speak of the lighthouse. " * 4


@pytest.fixture(scope="module", params=["tiny_recurrent", "tiny_hybrid"])
def open_uncut(request):
    """Opens a recurrent model, and a hybrid one."""
    path = request.getfixturevalue(request.param)

    def open_uncut(**options):
        from aiadmin_llamacpp.backend import LlamaBackend

        file = ModelFile(role="model", path=str(path))
        spec = ModelSpec(name=path.stem, digest="", format="gguf", files=(file,))
        return Driver(LlamaBackend().open_engine(spec, EngineOptions(safe_mode=True, n_ctx=1024, **options)))

    return open_uncut


@pytest.fixture(scope="module")
def driver(open_uncut):
    driver = open_uncut(n_parallel=2)
    yield driver
    driver.engine.close()


@pytest.fixture(scope="module")
def forgetful(open_uncut):
    """Keeps nothing outside its context."""
    driver = open_uncut(n_parallel=2, prefix_bytes=0)
    yield driver
    driver.engine.close()


def others(driver, salt):
    """Come and go, until nothing of what was before is in the context."""
    for n in range(4):
        driver.run(f"Something else, number {n}, by somebody else", max_tokens=2, cache_salt=f"{salt} {n}")


def ask(driver, prompt, salt, **options):
    return driver.run(prompt, max_tokens=8, ignore_eos=True, cache_salt=salt, **options)


def test_the_same_prompt_again_reads_its_last_token_alone(driver, forgetful):
    prompt = driver.encode(f"{SYSTEM} Who are you?")
    first = ask(driver, prompt, "again")
    others(driver, "again")

    again = ask(driver, prompt, "again")

    assert first.prefilled.n_cached == 0
    assert again.prefilled.n_cached == len(prompt) - 1
    assert again.tokens == first.tokens == ask(forgetful, prompt, "fresh").tokens


def test_the_next_turn_reads_what_is_new(driver, forgetful):
    conversation, n_before = driver.encode(f"{SYSTEM} Who are you?"), 0
    for turn in range(3):
        answer = ask(driver, conversation, "turns")
        assert answer.tokens == ask(forgetful, conversation, f"fresh {turn}").tokens
        assert answer.prefilled.n_cached >= n_before - 1
        others(driver, f"turns {turn}")
        n_before = len(conversation)
        conversation = [*conversation, *answer.tokens, *driver.encode(f"And the {turn}th question?")]


def test_a_system_message_that_many_begin_with_is_found_from_the_third_on(driver, forgetful):
    """The second one shows where prompts part; its state is saved there."""
    n_cached = []
    for n in range(4):
        prompt = driver.encode(f"{SYSTEM} {n} is my number, what is yours?")
        answer = ask(driver, prompt, "system")
        assert answer.tokens == ask(forgetful, prompt, f"fresh system {n}").tokens
        n_cached.append(answer.prefilled.n_cached)
        others(driver, f"system {n}")

    n_common = len(driver.encode(SYSTEM))
    assert n_cached[:2] == [0, 0]
    assert all(n_common - 3 < n < n_common + 4 for n in n_cached[2:])


def test_two_at_once_with_one_beginning_are_kept_apart(driver, forgetful):
    prompts = [driver.encode(f"{SYSTEM} {word}") for word in ("Yes, please.", "No, thank you.", "Perhaps?")]
    fresh = [ask(forgetful, prompt, f"apart {n}").tokens for n, prompt in enumerate(prompts)]

    for _ in range(2):
        asked = [
            driver.submit(prompt, max_tokens=8, ignore_eos=True, cache_salt="apart", n=1 + n % 2)
            for n, prompt in enumerate(prompts)
        ]
        driver.wait(*asked)
        assert [one.tokens for one in asked] == fresh


def test_another_salt_finds_nothing(driver):
    prompt = driver.encode(f"{SYSTEM} A secret.")
    ask(driver, prompt, "mine")

    assert ask(driver, prompt, "yours").prefilled.n_cached == 0
