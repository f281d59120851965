"""Two engines behind one name, for real: who has read a conversation goes on with it, and one may die."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import psutil
import pytest

pytestmark = pytest.mark.real_model
RULES = "You are the clerk of a small harbour town. " + "Answer briefly, and never speak of other towns. " * 12


@pytest.fixture(scope="module")
def server(product: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    mine = product.clone(tmp_path_factory.mktemp("replicas") / "state")
    mine.run("set", "smollm2", "--replicas", "2")
    with mine.serve(AIADMIN_CONTEXT_LENGTH="2048", AIADMIN_CONTEXTS="1", AIADMIN_PREFIX_DISK="0") as server:
        yield server


@pytest.fixture
def client(server: Any) -> Any:
    with openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0, timeout=120) as client:
        yield client


def both(server: Any, client: openai.OpenAI) -> list[int]:
    """The processes of the two engines, once both are open."""
    ask(client, "Hello.")
    server.eventually(lambda _: "2 engines answer for it" in server.ps()[0]["notes"], timeout_s=60)
    return list(server.ps()[0]["pids"])


def ask(client: openai.OpenAI, *turns: str) -> Any:
    roles = ("user", "assistant")
    messages: Any = [{"role": "system", "content": RULES}]
    messages += [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]
    return client.chat.completions.create(model="smollm2", messages=messages, max_tokens=8, temperature=0)


def test_each_conversation_goes_on_where_it_was_begun(server: Any, client: openai.OpenAI) -> None:
    """Two at a time, so that both engines have some of them."""
    both(server, client)

    def talk(name: str) -> list[int]:
        first = f"I am {name}. " + f"My boat is called the {name} of the sea. " * 12
        answer = ask(client, first)
        following = ask(client, first, answer.choices[0].message.content, "What is it called?")
        return [answer.usage.prompt_tokens, following.usage.prompt_tokens_details.cached_tokens]

    with ThreadPoolExecutor(2) as pool:
        for n_first, n_cached in pool.map(talk, ["Ann", "Bob", "Cay", "Dee"]):
            assert n_cached >= n_first - 1


def test_one_may_die_and_another_comes(server: Any, client: openai.OpenAI) -> None:
    before = both(server, client)
    long = client.chat.completions.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Count to a thousand."}],
        max_tokens=1500,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(long))
    os.kill(next(pid for pid in before if is_computing(pid)), signal.SIGKILL)

    with pytest.raises(openai.APIError, match=r"ended|died|killed|SIGKILL"):
        list(long)
    assert ask(client, "Are you there?").choices[0].finish_reason in ("stop", "length")
    assert len({*both(server, client)} & {*before}) == 1


def is_computing(pid: int) -> bool:
    return psutil.Process(pid).cpu_percent(interval=0.3) > 20


def test_all_are_stopped_together(server: Any, client: openai.OpenAI) -> None:
    pids = both(server, client)

    assert httpx.post(f"{server.url}/api/stop", json={"model": "smollm2"}).json() == {"stopped": True}

    assert not any(psutil.pid_exists(pid) for pid in pids)
