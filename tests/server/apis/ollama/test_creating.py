"""`/api/create` and `/api/blobs` over a real store."""

import asyncio
import hashlib
import json

import ollama
import pytest

from aiadmin_server.store.store import ModelStore

DATA = b"GGUF " + bytes(range(256)) * 40_000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def plugins(gguf):
    return [gguf]


async def lines_of(server, **fields):
    response = await server.http.post("/api/create", json=fields)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def test_todays_fields_make_a_model(serve, plugins, store):
    async with serve(plugins=plugins) as server:
        lines = await lines_of(
            server,
            model="mine",
            **{"from": "smollm2"},
            system="Talk like a pirate.",
            template="{{ .Prompt }}",
            parameters={"temperature": 0.5, "stop": ["x"], "num_ctx": 128},
            license=["MIT", "BSD"],
            messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}],
            info={"context_length": 5},
        )
        shown = (await server.http.post("/api/show", json={"model": "mine"})).json()

    assert lines[-1] == {"status": "success"}
    assert [line["status"] for line in lines][-2] == "writing manifest"
    assert any(line["status"].startswith("using existing layer sha256:") for line in lines)
    model = ModelStore(store.root).find("mine")
    assert model.parameters == {"temperature": 0.5, "stop": ["x"], "num_ctx": 128}
    assert shown["system"] == "Talk like a pirate."
    assert shown["messages"] == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy"}]
    assert shown["template"] == "{{ .Prompt }}"
    assert shown["details"]["parent_model"] == "smollm2:latest"
    assert "FROM mine:latest" in shown["modelfile"]
    assert "MESSAGE assistant Ahoy" in shown["modelfile"]


async def test_the_text_of_2024_makes_the_same(serve, plugins, store):
    async with serve(plugins=plugins) as server:
        shown = (await server.http.post("/api/show", json={"model": "smollm2"})).json()
        whole = await server.http.post(
            "/api/create", json={"name": "again", "modelfile": shown["modelfile"], "stream": False}
        )
        assert whole.json() == {"status": "success"}
    assert store.find("again").digest == store.find("smollm2").digest


async def test_a_modelfile_on_the_servers_disk_is_read_where_it_may_be(serve, plugins, store, tmp_path):
    (tmp_path / "weights.gguf").write_bytes(b"GGUF here")
    path = tmp_path / "Modelfile"
    path.write_text("FROM ./weights.gguf\nSYSTEM Hi.")
    async with serve(plugins=plugins) as server:
        refused = await server.http.post("/api/create", json={"model": "mine", "path": str(path)})
        secret = await server.http.post("/api/create", json={"model": "mine", "modelfile": "FROM /etc/passwd"})
    assert (refused.status_code, "AIADMIN_PRIVATE_SOURCES" in refused.json()["error"]) == (403, True)
    assert "not read for clients" in secret.text
    async with serve(plugins=plugins, private_sources=True) as server:
        assert (await lines_of(server, model="mine", path=str(path)))[-1] == {"status": "success"}
    assert store.find("mine").system == "Hi."


async def test_files_are_sent_once_and_become_models(serve, plugins, store):
    async with serve(plugins=plugins) as server:
        url = f"/api/blobs/{DIGEST}"
        assert (await server.http.head(url)).status_code == 404
        assert (await server.http.post(url, content=DATA)).status_code == 201
        assert (await server.http.head(url)).status_code == 200
        assert (await server.http.post(url, content=b"anything")).status_code == 200
        files = {"model.gguf": DIGEST}
        both = await asyncio.gather(
            lines_of(server, model="one", files=files), lines_of(server, model="two", files=files)
        )
        assert [lines[-1] for lines in both] == [{"status": "success"}] * 2
        assert (await server.http.request("DELETE", "/api/delete", json={"model": "one"})).status_code == 200
        old = await lines_of(server, name="three", modelfile=f"FROM @{DIGEST}")
        assert old[-1] == {"status": "success"}
    assert store.find("two").files[0].digest == store.find("three").files[0].digest == DIGEST
    assert store.verify() == []


async def test_a_file_with_another_digest_is_refused_and_leaves_nothing(serve, plugins, store):
    async with serve(plugins=plugins) as server:
        refused = await server.http.post(f"/api/blobs/{DIGEST}", content=DATA[:-1])
        assert refused.status_code == 400
        assert refused.json()["error"].startswith(f'digest mismatch, expected "{DIGEST}", got "sha256:')
        for url in ("/api/blobs/sha256:00", "/api/blobs/x", "/api/blobs/sha256:" + "g" * 64):
            assert (await server.http.post(url, content=b"x")).status_code == 400
            assert (await server.http.head(url)).status_code == 400
    assert not list((store.root / "aiadmin" / "uploads").glob("*"))


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({}, 400, "model is required"),
        ({"model": "mine"}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "a b", "from": "smollm2"}, 400, "no model name"),
        ({"model": "mine", "from": "smollm2", "parameters": {"temprature": 1}}, 400, "temperature"),
        ({"model": "mine", "from": "smollm2", "parameters": {"temperature": "hot"}}, 400, "'temperature' cannot be"),
        ({"model": "mine", "from": "smollm2", "template": "{{ .Prompt | upper }}"}, 400, "line 1"),
        ({"model": "mine", "from": "smollm2", "messages": [{"role": "robot", "content": ""}]}, 400, "messages[0].role"),
        ({"model": "mine", "modelfile": "FORM x"}, 400, "Line 1"),
        ({"model": "mine", "from": "smollm2", "remote_host": "https://x"}, 400, "remote_host"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_begins(serve, plugins, store, fields, status, message):
    async with serve(plugins=plugins) as server:
        refused = await server.http.post("/api/create", json=fields)
    assert refused.status_code == status
    assert message in refused.json()["error"]
    assert store.find("mine") is None


async def test_what_fails_later_is_the_last_line(serve, plugins, store):
    async with serve(plugins=plugins) as server:
        lines = await lines_of(server, model="mine", **{"from": "nowhere-to-be-found"})
        missing = await lines_of(server, model="mine", files={"model.gguf": "sha256:" + "0" * 64})
        unfit = await lines_of(server, model="mine", **{"from": "smollm2"}, quantize="Q4_0")
    assert "not found" in lines[-1]["error"]
    assert "not found" in missing[-1]["error"]
    assert "no installed backend makes weights smaller" in unfit[-1]["error"]
    assert store.find("mine") is None


async def test_ollamas_own_client_creates_from_a_model_and_from_a_file(serve, plugins, store, tmp_path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(DATA)
    async with serve(plugins=plugins) as server:
        client = ollama.Client(host=server.url)

        def work():
            done = client.create(model="mine", from_="smollm2", system="Hi.", parameters={"temperature": 0.1})
            digest = client.create_blob(str(path))
            steps = list(client.create(model="sent", files={"mine.gguf": digest}, stream=True))
            client.copy("sent", "copied")
            client.delete("sent")
            return done, digest, steps

        done, digest, steps = await asyncio.to_thread(work)
    assert (done.status, digest, steps[-1].status) == ("success", DIGEST, "success")
    assert store.find("mine").system == "Hi."
    assert store.find("copied").files[0].digest == DIGEST
