"""`aiadmin pull openai:...`, against real servers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.errors import AiAdminError, BadRequest, PullFailed
from aiadmin_core.sources import FetchedModel, Progress
from aiadmin_openai.remote import RemoteModel, read
from aiadmin_openai.source import OpenAISource


async def fetch(reference: str, workdir: Path, progress: list[Progress] | None = None) -> FetchedModel:
    report = (lambda _: None) if progress is None else progress.append
    return await asyncio.to_thread(OpenAISource().fetch, reference, workdir=workdir, progress=report)


def delivered(model: FetchedModel) -> RemoteModel:
    remote = read(model.files[0].path)
    assert remote
    return remote


async def test_what_is_pulled_is_a_description(serve: Any, tmp_path: Path) -> None:
    progress: list[Progress] = []
    async with serve() as upstream:
        model = await fetch(f"{upstream.url}#llama3", tmp_path, progress)

        assert delivered(model) == RemoteModel(upstreams=(upstream.url,), model="llama3")
        assert (model.format, model.suggested_name) == ("remote", "llama3")
        assert [(file.role, file.name) for file in model.files] == [("config", "upstream.json")]
        assert progress


def test_an_origin_is_known_without_asking() -> None:
    source = OpenAISource()

    assert source.origin("http://a:1#m") == source.origin("openai:http://a:1/v1/?key=KEY#m") == "openai:http://a:1/v1#m"
    assert source.origin("http://a:1") == "openai:http://a:1/v1"
    assert not source.claims("http://a:1#m")


async def test_the_only_model_of_a_server_need_not_be_named(serve: Any, tmp_path: Path) -> None:
    async with serve() as upstream:
        assert delivered(await fetch(upstream.url, tmp_path)).model == "llama3"


async def test_one_of_several_has_to_be_named(serve: Any, tmp_path: Path) -> None:
    async with serve() as upstream:
        upstream.models = [{"id": "a"}, {"id": "b"}]
        with pytest.raises(PullFailed, match="serves a, b") as caught:
            await fetch(upstream.url, tmp_path)
        assert "#MODEL" in caught.value.hint

        upstream.models = []
        with pytest.raises(PullFailed, match="names no model"):
            await fetch(upstream.url, tmp_path)


async def test_a_model_the_server_does_not_know_is_told_with_those_it_does(serve: Any, tmp_path: Path) -> None:
    async with serve() as upstream:
        with pytest.raises(PullFailed, match="does not know 'llama4'; it serves llama3") as caught:
            await fetch(f"{upstream.url}#llama4", tmp_path)
        assert "?unchecked" in caught.value.hint

        assert delivered(await fetch(f"{upstream.url}?unchecked#llama4", tmp_path)).model == "llama4"


async def test_a_model_the_server_knows_by_a_name_it_does_not_list_is_accepted(serve: Any, tmp_path: Path) -> None:
    async with serve() as upstream:
        upstream.unlisted = ["gpt-4o"]
        assert delivered(await fetch(f"{upstream.url}#gpt-4o", tmp_path)).model == "gpt-4o"

        upstream.unlisted, upstream.models = [], [{"id": "llama3:latest"}]
        assert delivered(await fetch(f"{upstream.url}#llama3", tmp_path)).model == "llama3"

        upstream.models = [{"id": "llama3"}]  # AiAdmin and others list models without the tag that is meant anyway
        assert delivered(await fetch(f"{upstream.url}#llama3:latest", tmp_path)).model == "llama3:latest"


async def test_every_server_has_to_answer(serve: Any, nobody: str, tmp_path: Path) -> None:
    async with serve() as upstream:
        with pytest.raises(PullFailed, match=f"{nobody.split('/')[2]} does not answer: no connection"):
            await fetch(f"{upstream.url},{nobody}#llama3", tmp_path)

        remote = delivered(await fetch(f"{upstream.url},{nobody}?unchecked#llama3", tmp_path))
        assert remote.upstreams == (upstream.url, nobody)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"error": {"message": "Incorrect key s3cret"}}, "refuses the API key"),
        (500, {"error": {"message": "you sent s3cret"}}, "answered 500: you sent"),
        (200, {"hello": "world"}, "no list of models"),
        (200, b"<html>", "no list of models"),
    ],
)
async def test_what_is_wrong_with_a_server_is_said_without_the_key(
    status: int, body: Any, words: str, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_KEY", "s3cret")

    async with serve() as upstream:
        upstream.listing = (status, body)
        with pytest.raises(PullFailed, match=words) as caught:
            await fetch(f"{upstream.url}?key=EXAMPLE_KEY#llama3", tmp_path)
        assert "s3cret" not in str(caught.value)


async def test_a_server_without_a_list_is_taken_at_its_word(serve: Any, tmp_path: Path) -> None:
    async with serve() as upstream:
        upstream.listing = (404, b"")
        assert delivered(await fetch(f"{upstream.url}#llama3", tmp_path)).model == "llama3"
        with pytest.raises(PullFailed, match="names no model"):
            await fetch(upstream.url, tmp_path)


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("http://127.0.0.1:1/v1?key=SOME_UNSET_KEY#m", PullFailed, "SOME_UNSET_KEY"),
        ("http://127.0.0.1:1/v1?unchecked", BadRequest, "has to name the model"),
        ("nonsense", BadRequest, "no http"),
    ],
)
def test_what_cannot_be_asked_is_refused(reference: str, error: type[AiAdminError], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        asyncio.run(fetch(reference, tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["x\x01y", "a" * 70 + ".example", "xn--a"])
def test_a_host_that_cannot_exist_is_a_clear_error(host, tmp_path):
    with pytest.raises(PullFailed, match="no host name"):
        OpenAISource().fetch(f"openai:http://{host}/v1#m", workdir=tmp_path, progress=lambda _: None)
