"""Opening and describing a model that is served elsewhere. Upstreams are real servers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aiadmin_core.backend import Backend
from aiadmin_core.errors import BadRequest, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelFormat, ModelSpec
from aiadmin_openai.backend import OpenAIBackend
from aiadmin_openai.remote import MAX_BYTES, RemoteModel, read, write

BACKEND = OpenAIBackend()


@pytest.fixture
def described(tmp_path: Path) -> Callable[..., ModelSpec]:
    def describe(*urls: str, format: ModelFormat = "remote", **fields: Any) -> ModelSpec:
        path = tmp_path / "sha256-0123"  # in the store a file has its digest for a name
        write(RemoteModel(upstreams=urls, model="llama3", **fields), path)
        return ModelSpec(name="far:latest", digest="", format=format, files=(ModelFile(role="config", path=str(path)),))

    return describe


def test_it_is_a_backend_that_needs_no_process_of_its_own() -> None:
    assert isinstance(BACKEND, Backend)
    assert BACKEND.in_process
    assert BACKEND.health().ok


def test_it_serves_what_its_source_describes_and_nothing_else(described: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text('{"kind": "somebody-elses"}')

    assert BACKEND.suitability(described("http://a/v1")) == 50
    assert BACKEND.suitability(described("http://a/v1", format="gguf")) is None
    for files in ((), (ModelFile(role="model", path=str(other)),), (ModelFile(role="model", path="/nowhere"),)):
        assert BACKEND.suitability(ModelSpec(name="x", digest="", format="remote", files=files)) is None


def test_what_is_written_is_read_and_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    remote = RemoteModel(upstreams=("http://a/v1", "http://b/v1"), model="m", key_variable="KEY")
    first, second = tmp_path / "1", tmp_path / "2"
    write(remote, first)
    write(remote, second)

    assert read(first) == remote
    assert first.read_bytes() == second.read_bytes()


def test_inspecting_tells_where_a_model_is_served(described: Any) -> None:
    info = BACKEND.inspect(Path(described("http://a/v1", key_variable="EXAMPLE_KEY").files[0].path))

    assert info is not None
    assert info.format == "remote"
    assert info.metadata == {"upstreams": ["http://a/v1"], "model": "llama3", "key_variable": "EXAMPLE_KEY"}


@pytest.mark.parametrize(
    "data", [b"", b"GGUF\x03", b"{}", b"[1]", b'{"kind": 7}', b"{" * 1000, b" " * MAX_BYTES + b" "]
)
def test_other_files_are_not_its_business(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)

    assert BACKEND.inspect(path) is None
    assert BACKEND.inspect(tmp_path) is None


@pytest.mark.parametrize("rest", ['"model": "m"', '"model": "m", "upstreams": []', '"model": 7, "upstreams": ["a"]'])
def test_a_broken_description_is_said_to_be_broken(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "upstream.json"
    path.write_text(f'{{"kind": "openai", {rest}}}')
    spec = ModelSpec(name="x", digest="", format="remote", files=(ModelFile(role="model", path=str(path)),))

    with pytest.raises(BadRequest, match="is broken"):
        BACKEND.inspect(path)
    assert BACKEND.suitability(spec) == 50
    with pytest.raises(ModelLoadFailed, match="broken"):
        BACKEND.open_engine(spec, EngineOptions())


async def test_opening_learns_what_the_upstreams_tell(serve: Any, described: Any) -> None:
    async with serve() as vllm, serve() as llama_server, serve() as aiadmin:
        vllm.models = [{"id": "llama3", "max_model_len": 4096}, {"id": "other", "max_model_len": 1}]
        llama_server.models = [{"id": "llama3", "meta": {"n_ctx": 2048, "n_ctx_train": 8192, "n_params": 135}}]
        aiadmin.models = [{"id": "llama3:latest", "context_length": 1024}]

        spec = described(vllm.url, llama_server.url, aiadmin.url)
        engine = await asyncio.to_thread(BACKEND.open_engine, spec, EngineOptions())

        assert (engine.facts.n_ctx, engine.facts.n_ctx_train, engine.facts.n_params) == (2048, 8192, 135)
        assert (engine.facts.device, engine.facts.notes) == ("remote", ())
        await engine.close()


def test_a_chat_template_that_cannot_be_used_is_noted(described: Any, nobody: str) -> None:
    engine = BACKEND.open_engine(replace(described(nobody), template="{{ messages }}"), EngineOptions())

    assert "chat template" in engine.facts.notes[0]
    assert "is down" in engine.facts.notes[1]
    asyncio.run(engine.close())


def test_a_model_opens_before_its_upstream_is_up(described: Any, nobody: str) -> None:
    engine = BACKEND.open_engine(described(nobody), EngineOptions())

    assert engine.facts.n_ctx == 0
    assert engine.facts.notes[0].startswith(f"upstream {nobody.split('/')[2]} is down: no connection")
    asyncio.run(engine.close())


@pytest.mark.parametrize("key", ["", "  ", "gehei\u00df", "two\nlines"])
def test_a_missing_or_impossible_key_is_a_failed_load_that_names_the_variable(
    key: str, described: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", key)

    with pytest.raises(ModelLoadFailed, match="EXAMPLE_KEY") as caught:
        BACKEND.open_engine(described("http://a/v1", key_variable="EXAMPLE_KEY"), EngineOptions())

    assert not key.strip() or key not in str(caught.value)


def test_the_key_is_sent_and_is_nowhere_else(
    serve: Any, described: Any, ask: Any, collect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", "s3cret")

    async def main() -> None:
        async with serve() as upstream:
            spec = described(upstream.url, key_variable="EXAMPLE_KEY")
            engine = await asyncio.to_thread(BACKEND.open_engine, spec, EngineOptions())
            await collect(engine)
            await engine.close()

            assert upstream.seen[0].headers["authorization"] == "Bearer s3cret"
            described_at.append(Path(spec.files[0].path))

    described_at: list[Path] = []
    asyncio.run(main())
    assert b"s3cret" not in described_at[0].read_bytes()


async def test_no_key_is_sent_where_none_is_named(serve: Any, open_engine: Any, collect: Any) -> None:
    async with serve() as upstream, open_engine(upstream.url) as engine:
        await collect(engine)

        assert "authorization" not in upstream.seen[0].headers
