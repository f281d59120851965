"""Servers named over HTTP: only public addresses, at each request."""

import socket
from typing import Any

import pytest

from aiadmin_core.errors import AiAdminError, NotAllowed
from aiadmin_core.public import REFUSED
from aiadmin_core.sources import Caller
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_openai import listing
from aiadmin_openai.backend import OpenAIBackend
from aiadmin_openai.remote import FILE_NAME, read
from aiadmin_openai.source import OpenAISource

PUBLIC = "93.184.216.34"
HTTP = Caller(over="http", identity="somebody")


@pytest.fixture
def rebinding(monkeypatch):
    """A name that leads to a public address the first time it is looked up, and to this machine from then on."""
    found = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "rebinding.example":
            return found(host, port, *arguments, **options)
        asked.append(name)
        return found(PUBLIC if len(asked) == 1 else "127.0.0.1", port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return "rebinding.example"


async def test_a_name_that_leads_elsewhere_later_is_not_followed(rebinding, serve, collect, tmp_path):
    """DNS rebinding, in the pull and when the model is served."""

    async with serve() as upstream:
        reference = upstream.url.replace("127.0.0.1", rebinding) + "?unchecked#m"
        OpenAISource().fetch_for(HTTP, reference, workdir=tmp_path, progress=lambda _: None)
        with pytest.raises(NotAllowed):
            OpenAISource().fetch_for(HTTP, reference, workdir=tmp_path, progress=lambda _: None)

        path = tmp_path / FILE_NAME
        remote = read(path)
        assert remote is not None
        assert remote.public_only
        found = listing.ask(remote.upstreams[0], headers={}, timeout_s=5, public_only=True)
        assert REFUSED in found.error
        spec = ModelSpec(name="m", digest="", format="remote", files=(ModelFile(role="config", path=str(path)),))
        engine = OpenAIBackend().open_engine(spec, EngineOptions())
        try:
            assert any(REFUSED in note for note in engine.facts.notes)
            with pytest.raises(AiAdminError, match="not public"):
                await collect(engine)
        finally:
            await engine.close()
        assert upstream.seen == []
