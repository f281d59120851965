"""The same request gives the same bytes: alone, again, beside others, in any order, after others came and went."""

import random

import pytest

pytestmark = pytest.mark.real_model

TOPICS = ["bees", "ships", "a lost key", "the number seven", "rain", "old maps", "bread", "the moon"]
N_TOKENS = 20


@pytest.fixture(scope="module")
def driver(open_driver):
    """A context small enough for its cache to be rearranged while this goes on."""
    driver = open_driver(n_ctx=1536, n_parallel=16, exact=True)
    yield driver
    driver.engine.close()


@pytest.fixture(scope="module")
def requests(driver):
    """Sixteen requests: greedy and drawn, short and long."""
    prompts = [driver.chat(f"{'Listen carefully. ' * (n % 4 * 6)}Tell me about {TOPICS[n % 8]}.") for n in range(16)]
    return [
        (prompt, {"temperature": n % 2 * 1.0, "seed": 5 + n if n % 2 else None}) for n, prompt in enumerate(prompts)
    ]


def ask(driver, requests, order, *, salt=None):
    """All at once in `order`; their tokens in their own."""
    running = {}
    for n in order:
        prompt, sampling = requests[n]
        running[n] = driver.submit(prompt, max_tokens=N_TOKENS, cache_salt=salt or f"{n}", **sampling)
    driver.wait(*running.values())
    return [running[n].tokens for n in range(len(requests))]


@pytest.fixture(scope="module")
def alone(driver, requests):
    return [
        driver.run(prompt, max_tokens=N_TOKENS, cache_salt=f"{n}", **sampling).tokens
        for n, (prompt, sampling) in enumerate(requests)
    ]


def test_three_times_in_a_row(driver, requests, alone):
    """Cold, then with more and more of it cached."""
    for n in (0, 3, 6):
        prompt, sampling = requests[n]
        for _ in range(3):
            assert driver.run(prompt, max_tokens=N_TOKENS, cache_salt="row", **sampling).tokens == alone[n]


@pytest.mark.parametrize("shuffle", [1, 2])
def test_sixteen_at_once_in_any_order(driver, requests, alone, shuffle):
    order = list(range(16))
    random.Random(shuffle).shuffle(order)

    assert ask(driver, requests, order, salt=f"all {shuffle}") == alone


def test_with_other_threads(driver, requests, alone):
    context = driver.engine._thread.stepper._context
    before = context.n_threads
    context.set_threads(3 - before if before in (1, 2) else 1)
    try:
        assert ask(driver, requests[:4], range(4), salt="threads") == alone[:4]
    finally:
        context.set_threads(before)


def test_with_what_was_parked_meanwhile(driver, requests, alone):
    """Others run, so what is cached leaves the context; it comes back when it is asked for."""
    kv = driver.engine._thread.stepper._scheduler.kv
    others = driver.submit("Once upon a time", max_tokens=200, ignore_eos=True)
    for n in (3, 7):
        prompt, sampling = requests[n]
        for _ in range(2):
            again = driver.run(prompt, max_tokens=N_TOKENS, cache_salt="parked", **sampling)
            assert again.tokens == alone[n]
            driver.until(lambda: others.done or not kv.idle())
        assert again.prefilled.n_cached == len(prompt) - 1
    driver.engine.cancel(others.id)
    assert driver.engine.stats().prefix_bytes > 10**6


def test_after_a_restart(open_driver, requests, alone, tmp_path):
    """What one engine computed, the next one finds in files."""
    keep = {"prefix_folder": str(tmp_path), "prefix_disk_bytes": 10**9, "digest": "sha256:smollm2"}
    prompt, sampling = requests[7]
    for n_cached in (0, len(prompt) - 1):
        driver = open_driver(n_ctx=1024, n_parallel=2, exact=True, **keep)
        try:
            answer = driver.run(prompt, max_tokens=N_TOKENS, **sampling)
            assert answer.tokens == alone[7]
            assert answer.prefilled.n_cached == n_cached
        finally:
            driver.engine.close()
