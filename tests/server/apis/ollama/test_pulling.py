"""`/api/pull` over HTTP, from a source that does what a test tells it."""

import asyncio
import json
import threading
import time

import ollama
import pytest

from aiadmin_core.errors import PullFailed
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.sources import CatalogueEntry, FetchedFile, FetchedModel, Progress
from aiadmin_server.sources import installed
from aiadmin_server.store.manifest import digest_of
from aiadmin_server.store.store import ModelStore

CONTENT = b"GGUF"
ENTRY = CatalogueEntry(
    name="tiny",
    reference="made:tiny",
    digest=digest_of(CONTENT),
    size=len(CONTENT),
    summary="a test's",
    license="MIT",
)


class Made:
    """Fetches four bytes, two at a time. Between them it can stop to come on, or fail."""

    scheme = "made"

    def __init__(self) -> None:
        self.stalls = False
        """Nothing more comes, and it says so again and again."""
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.fails = False
        self.found: list[int] = []
        """Bytes that were there already, at each fetch."""
        self.callers: list[object] = []

    def claims(self, reference):
        return False

    def fetch_for(self, caller, reference, **how):
        self.callers.append(caller)
        return self.fetch(reference, **how)

    def fetch(self, reference, *, workdir, progress, expected_digest=""):
        path = workdir / "tiny.gguf"
        had = path.read_bytes() if path.exists() else b""
        self.found.append(len(had))
        try:
            for end in (2, 4):
                path.write_bytes(CONTENT[:end])
                progress(Progress(status="downloading", completed=end, total=4))
                self.begun.set()
                while self.stalls:
                    time.sleep(0.01)
                    progress(Progress(status="downloading", completed=end, total=4))
                if self.fails:
                    raise PullFailed("The line was cut.", hint="Try again.")
        finally:
            self.ended.set()
        return FetchedModel(files=(FetchedFile(path=path),), format="gguf", suggested_name="made")


class Mine:
    """For the command line alone."""

    scheme = "mine"

    def claims(self, reference):
        return False

    def fetch(self, reference, **how):
        raise AssertionError


@pytest.fixture
def source() -> Made:
    return Made()


@pytest.fixture
def plugins(source):
    class Plugin:
        @hookimpl
        def aiadmin_sources(self):
            return [source, Mine()]

        @hookimpl
        def aiadmin_catalogue(self):
            return [ENTRY]

    return [("made", Plugin()), ("sources", installed)]


async def pulled(server, **fields):
    return await server.http.post("/api/pull", json=fields)


async def test_lines_tell_how_far_it_is(serve, plugins, tmp_path):
    """In Ollama's order, a file by its digest while it comes; the model is there when the last line is."""
    async with serve(plugins=plugins) as server:
        response = await pulled(server, model="tiny", insecure=False)
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in response.text.splitlines()]
        statuses = list(dict.fromkeys(line["status"] for line in lines))
        assert statuses[0] == "pulling manifest"
        assert statuses[-2:] == ["writing manifest", "success"]
        coming = [line for line in lines if line["status"].startswith("pulling ") and "digest" in line]
        assert coming[-1] == {
            "status": f"pulling {ENTRY.digest[7:19]}",
            "digest": ENTRY.digest,
            "total": 4,
            "completed": 4,
        }
        assert ModelStore(tmp_path / "models").find("tiny") is not None
        again = [json.loads(line) for line in (await pulled(server, name="tiny")).text.splitlines()]
        assert again[-1] == {"status": "success"}
        whole = await pulled(server, model="tiny", stream=False)
        assert whole.json() == {"status": "success"}


async def test_a_client_that_leaves_ends_it_and_the_next_goes_on_from_there(serve, plugins, source, tmp_path):
    source.stalls = True
    async with serve(plugins=plugins) as server:
        async with server.http.stream("POST", "/api/pull", json={"model": "tiny"}) as response:
            async for line in response.aiter_lines():
                if "digest" in line:
                    break
        assert await asyncio.to_thread(source.ended.wait, 20)
        source.stalls = False
        assert ModelStore(tmp_path / "models").find("tiny") is None
        assert (await pulled(server, model="tiny", stream=False)).json() == {"status": "success"}
        assert source.found == [0, 2]


async def test_a_client_that_waits_for_the_end_may_leave_too(serve, plugins, source, tmp_path):
    source.stalls = True
    async with serve(plugins=plugins) as server:
        pulling = asyncio.create_task(pulled(server, model="tiny", stream=False))
        assert await asyncio.to_thread(source.begun.wait, 20)
        pulling.cancel()
        assert await asyncio.to_thread(source.ended.wait, 20)
        assert ModelStore(tmp_path / "models").find("tiny") is None


async def test_what_fails_on_the_way_is_the_last_line_or_the_status(serve, plugins, source):
    source.fails = True
    async with serve(plugins=plugins) as server:
        lines = [json.loads(line) for line in (await pulled(server, model="tiny")).text.splitlines()]
        assert lines[-1] == {"error": "The line was cut. Try again."}
        whole = await pulled(server, model="tiny", stream=False)
        assert (whole.status_code, whole.json()) == (502, {"error": "The line was cut. Try again."})


@pytest.mark.parametrize(
    ("model", "status", "text"),
    [
        ("no name", 400, "is no model name"),
        ("nowhere:foo/bar", 400, "No source is called 'nowhere'"),
        ("file:/etc/passwd", 403, "for the command line"),
        ("link:/etc/passwd", 403, "for the command line"),
        ("mine:anything", 403, "for the command line"),
        ("", 400, "model is required"),
        ("!!", 400, "is no model name"),
    ],
)
async def test_what_cannot_be_pulled_over_http_is_refused_before_anything_is_sent(serve, plugins, model, status, text):
    async with serve(plugins=plugins) as server:
        response = await pulled(server, model=model)
        assert response.status_code == status
        assert text in response.json()["error"]


async def test_sources_learn_who_asks(serve, plugins, source):
    """The catalogue's references are the administrator's; others are the client's."""
    async with serve(plugins=plugins, private_sources=True) as server:
        assert (await pulled(server, model="made:other", stream=False)).status_code == 200
        (caller,) = source.callers
        assert (caller.over, caller.private_addresses) == ("http", True)


async def test_ollama_s_client_pulls(serve, plugins):
    async with serve(plugins=plugins) as server:
        client = ollama.AsyncClient(host=server.url)
        lines = [line async for line in await client.pull("tiny", stream=True)]
        assert lines[-1].status == "success"
        assert (await client.pull("tiny")).status == "success"
        assert [model.model for model in (await client.list()).models] == ["tiny:latest"]
