"""What goes wrong in real life costs nobody else anything."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("chaos")]
ASK = [{"role": "user", "content": "Say: this is a test."}]
ENDLESS = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Count to a thousand."}],
    "max_tokens": 4000,
    "stream": True,
    "extra_body": {"ignore_eos": True},
}


@pytest.fixture(scope="module")
def server(product: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of our own: these tests kill what others lean on."""
    with product.clone(tmp_path_factory.mktemp("chaos") / "state").serve() as server:
        yield server


@pytest.fixture
def client(server: Any) -> Any:
    with openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0, timeout=60) as client:
        yield client


def answers(client: Any) -> bool:
    return bool(client.chat.completions.create(model="smollm2", messages=ASK, max_tokens=4).choices[0].message.content)


def test_a_runner_killed_in_mid_stream_ends_its_stream_with_an_error_and_the_next_request_is_served(
    server: Any, client: Any
) -> None:
    stream = client.chat.completions.create(**ENDLESS)
    for _ in range(4):
        next(stream)
    pid = int(server.ps()[0]["pid"])

    os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIError) as caught:
        for _ in stream:
            pass

    assert "SIGKILL" in str(caught.value)
    assert answers(client)
    assert int(server.ps()[0]["pid"]) != pid


def test_a_runner_that_segfaults_before_the_first_byte_is_a_502_that_names_the_signal(server: Any, client: Any) -> None:
    assert answers(client)
    pid = int(server.ps()[0]["pid"])
    os.kill(pid, signal.SIGSTOP)  # so that the request is surely waiting when it dies
    failures: list[Any] = []

    def ask() -> None:
        try:
            client.chat.completions.create(model="smollm2", messages=ASK, max_tokens=4)
        except openai.APIStatusError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    server.eventually(lambda it: int(it.ps()[0]["n_active"]) == 1)
    os.kill(pid, signal.SIGSEGV)
    os.kill(pid, signal.SIGCONT)
    asking.join(30)

    assert failures
    assert failures[0].status_code in (502, 503)
    assert "SIGSEGV" in failures[0].message
    assert answers(client)


def test_a_model_that_dies_again_and_again_is_left_alone_for_a_while(product: Any, tmp_path: Path) -> None:
    """A prompt may be the reason, and whoever sent it would kill runner after runner. Nobody is told what a dead runner
    wrote: it may be of another's request."""
    with (
        product.clone(tmp_path / "state").serve() as server,
        openai.OpenAI(base_url=server.base_url, api_key="x", timeout=60) as client,  # which retries, where it may
    ):
        for _ in range(3):
            stream = client.chat.completions.create(**ENDLESS)
            next(stream)
            os.kill(int(server.ps()[0]["pid"]), signal.SIGKILL)
            with pytest.raises(openai.APIError) as caught:
                for _ in stream:
                    pass
            assert "SIGKILL" in str(caught.value)
            assert "llama_" not in str(caught.value)  # as its own lines begin
        body = {"model": "smollm2", "messages": ASK, "max_tokens": 4}
        refused = httpx.post(f"{server.base_url}chat/completions", json=body)

        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_crashing")
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{server.url}/health").status_code in (200, 503)
        assert server.metric("aiadmin_runner_deaths_total") == 3


def test_five_hundred_at_once_are_answered_or_told_to_come_again_and_the_next_is_served(
    product: Any, tmp_path: Path
) -> None:
    body = {"model": "smollm2", "messages": ASK, "max_tokens": 4}

    async def all_at_once(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(timeout=100, limits=limits) as client:
            return await asyncio.gather(*(client.post(url, json=body) for _ in range(500)))

    with product.clone(tmp_path / "state").serve(AIADMIN_MAX_QUEUE="16") as server:
        url = f"{server.base_url}chat/completions"
        assert httpx.post(url, json=body, timeout=60).status_code == 200  # loaded
        responses = asyncio.run(all_at_once(url))

        served = [response for response in responses if response.status_code == 200]
        refused = [response for response in responses if response.status_code != 200]
        assert len(served) >= 16
        assert all(response.json()["choices"][0]["message"]["content"] for response in served)
        assert refused
        assert {response.status_code for response in refused} == {503}
        assert all(response.json()["error"]["message"] for response in refused)
        assert all(int(response.headers["retry-after"]) > 0 for response in refused)
        assert httpx.post(url, json=body, timeout=60).status_code == 200


def test_a_server_that_can_open_no_more_files_keeps_its_streams(server: Any, client: Any) -> None:
    """What a heartbeat cannot do then ends nobody's stream."""
    assert answers(client)
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    stream = client.chat.completions.create(**(ENDLESS | {"max_tokens": 400}))
    next(stream)
    few = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    try:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"  # some heartbeats long
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert answers(client)


def test_a_client_that_vanishes_in_mid_stream_frees_its_place(server: Any, client: Any) -> None:
    stream = client.chat.completions.create(**ENDLESS)
    next(stream)
    next(stream)
    stream.close()

    server.eventually(lambda it: all(model["n_active"] == 0 for model in it.ps()))
    assert answers(client)


def test_a_client_that_vanishes_while_it_waits_for_a_whole_answer_frees_its_place(server: Any, client: Any) -> None:
    body = {key: value for key, value in ENDLESS.items() if key not in ("stream", "extra_body")} | {"ignore_eos": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.base_url}chat/completions", json=body, timeout=1.5)

    server.eventually(lambda it: all(model["n_active"] == 0 for model in it.ps()))
    assert answers(client)


def test_a_client_that_reads_slowly_holds_nobody_up(server: Any, client: Any) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    body = (
        b'{"model": "smollm2", "stream": true, "max_tokens": 2000, "ignore_eos": true,'
        b' "messages": [{"role": "user", "content": "Count."}]}'
    )
    with socket.create_connection((host, int(port))) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body)
        assert slow.recv(64).startswith(b"HTTP/1.1 200")

        assert answers(client)  # while the slow one has read next to nothing

    server.eventually(lambda it: all(model["n_active"] == 0 for model in it.ps()))


def test_a_suspended_client_holds_up_neither_the_unloading_nor_the_next_request(server: Any, client: Any) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    fields = {**ENDLESS, **ENDLESS["extra_body"], "logprobs": True, "top_logprobs": 20}
    with socket.socket() as suspended:
        suspended.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        suspended.connect((host, int(port)))
        body = json.dumps({key: value for key, value in fields.items() if key != "extra_body"}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        suspended.sendall(head.encode() + body)
        server.eventually(lambda it: it.metric("aiadmin_engine_running") == 1)
        stopping = threading.Thread(
            target=httpx.post, args=(f"{server.url}/api/stop",), kwargs={"json": {"model": "smollm2"}, "timeout": 60}
        )
        stopping.start()
        server.eventually(lambda it: [model["state"] for model in it.ps()] == ["stopping"])

        assert answers(client)
        assert sorted(model["state"] for model in server.ps()) == ["ready", "stopping"]
    stopping.join(30)
    assert not stopping.is_alive()


STOPPED_S = 3.0
"""A machine that sleeps, a debugger: longer than anything here is patient with a runner that says nothing."""


def test_a_server_that_is_suspended_goes_on_with_its_streams(server: Any, client: Any) -> None:
    stream = client.chat.completions.create(**{**ENDLESS, "max_tokens": 400})
    next(stream)
    runner = server.ps()[0]["pid"]

    server.process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(STOPPED_S)
    server.process.send_signal(signal.SIGCONT)

    assert [chunk.choices[0].finish_reason for chunk in stream if chunk.choices][-1] == "length"
    assert answers(client)
    assert server.ps()[0]["pid"] == runner


def test_who_leaves_the_queue_is_never_decoded(product: Any, tmp_path: Path) -> None:
    with (
        product.clone(tmp_path / "state").serve(AIADMIN_NUM_PARALLEL="1") as server,
        openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0, timeout=60) as client,
    ):
        running = client.chat.completions.create(**ENDLESS)
        next(running)
        body = json.dumps({"model": "smollm2", "messages": ASK, "max_tokens": 4}).encode()
        with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port)) as waiting:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            waiting.sendall(head.encode() + body)
            server.eventually(lambda it: it.ps()[0]["stats"].get("n_waiting") == 1)
        server.eventually(lambda it: it.ps()[0]["stats"].get("n_waiting", 0) == 0)

        assert server.ps()[0]["stats"]["n_running"] == 1
        running.close()
        server.eventually(lambda it: it.ps()[0]["stats"].get("n_running", 0) == 0)
        assert server.ps()[0]["stats"]["n_cancelled"] == 2
        assert answers(client)


def test_a_server_that_is_killed_leaves_no_runner_behind(product: Any, tmp_path: Path) -> None:
    with (
        product.clone(tmp_path / "state").serve() as server,
        openai.OpenAI(base_url=server.base_url, api_key="x") as client,
    ):
        stream = client.chat.completions.create(**ENDLESS)
        next(stream)
        next(stream)
        pid = int(server.ps()[0]["pid"])
        server.process.kill()
        server.eventually(lambda _: not _alive(pid))


def test_a_process_group_that_is_terminated_finishes_what_it_can_and_tells_the_rest(
    product: Any, tmp_path: Path
) -> None:
    """systemd sends SIGTERM to every process of a service: the runners' answers go on, for as long as the server
    waits for them."""
    with (
        product.clone(tmp_path / "state").serve() as server,
        openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0) as client,
    ):
        short, endless = (client.chat.completions.create(**(ENDLESS | {"max_tokens": n})) for n in (40, 4000))
        next(short)
        next(endless)
        pid = int(server.ps()[0]["pid"])

        os.killpg(server.process.pid, signal.SIGTERM)

        assert [chunk.choices[0].finish_reason for chunk in short][-1] == "length"
        with pytest.raises(openai.APIError, match="shutting down"):
            for _ in endless:
                pass
        assert server.process.wait(20) == 0
        server.eventually(lambda _: not _alive(pid))


def test_a_full_disk_during_a_pull_is_a_clear_error_and_leaves_nothing_half_written(
    product: Any, tmp_path: Path, smollm2_gguf: Path
) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    environment = product.env(AIADMIN_STATE=str(tmp_path / "state"))
    elsewhere = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path  # another disk: it cannot be a hard link
    copy = elsewhere / f"aiadmin-test-{os.getpid()}.gguf"
    copy.write_bytes(smollm2_gguf.read_bytes())
    try:
        command = ["aiadmin", "pull", str(copy), "--as", "big"]
        failed = subprocess.run(
            command, env=environment, preexec_fn=no_room, capture_output=True, text=True, check=False, timeout=60
        )
        listed = subprocess.run(["aiadmin", "list"], env=environment, capture_output=True, text=True, check=True)
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    finally:
        copy.unlink()

    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "big" not in listed.stdout
    assert again.returncode == 0


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # an orphan may wait long for its reaper
    except psutil.NoSuchProcess:
        return False
