"""What a model will take of the memory, said before it is fetched."""

import json
from pathlib import Path

import pytest

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.errors import NoBackend
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import OfferedFile
from aiadmin_core.specs.model import EngineOptions
from aiadmin_server.pull import pull
from aiadmin_server.sources import installed
from aiadmin_server.sources.beginnings import HEADER_BYTES, foretold
from aiadmin_server.store.store import ModelStore

from .site import Page, running_site


class Offer:
    """Files that are here, and how much of each was asked for."""

    def __init__(self, *files):
        self.data = {name: data for name, _, data in files}
        self.files = tuple(OfferedFile(name=name, role=role, size=len(data)) for name, role, data in files)
        self.asked: list[tuple[str, int]] = []

    def beginning(self, file, n_bytes):
        self.asked.append((file.name, n_bytes))
        return self.data[file.name][:n_bytes]


@pytest.fixture
def estimate():
    """As the llama.cpp backend does it. Its context does not depend on what memory is free just now."""
    backend = pytest.importorskip("aiadmin_llamacpp.backend").LlamaBackend()
    return lambda spec: backend.estimate_memory(spec, EngineOptions(n_ctx=2048))


@pytest.mark.real_model
def test_it_is_what_is_said_of_the_whole_file(tiny_gguf, estimate):
    """Its header, mostly the vocabulary, is longer than what is looked at first."""
    offer = Offer(("tiny.gguf", "model", tiny_gguf.read_bytes()), ("see.gguf", "projector", b"p" * 1000))

    found = foretold("tiny", offer, {}, estimate)

    assert found is not None
    assert found.weights_bytes == tiny_gguf.stat().st_size + 1000
    assert found.cache_bytes > 0
    assert found.n_ctx == 2048
    assert [name for name, _ in offer.asked] == ["tiny.gguf"] * len(offer.asked)
    assert max(n for _, n in offer.asked) < tiny_gguf.stat().st_size


@pytest.mark.real_model
def test_a_file_that_is_here_already_is_read_here(tiny_gguf, estimate):
    offer = Offer(("tiny.gguf", "model", b""))
    offer.files = (OfferedFile(name="tiny.gguf", size=tiny_gguf.stat().st_size, digest="sha256:it"),)

    assert foretold("tiny", offer, {"sha256:it": tiny_gguf}, estimate) is not None
    assert offer.asked == []


def test_of_safetensors_the_settings_are_read_and_no_weights():
    seen = []

    def estimate(spec):
        seen.append(json.loads(Path(next(file.path for file in spec.files if file.name == "config.json")).read_text()))
        return MemoryEstimate(weights_bytes=sum(file.size for file in spec.files if file.role == "model"))

    weights = b"w" * 5000
    offer = Offer(("model.safetensors", "model", weights), ("config.json", "config", b'{"hidden_size": 64}'))

    assert foretold("folder", offer, {}, estimate) == MemoryEstimate(weights_bytes=5000)
    assert seen == [{"hidden_size": 64}]
    assert offer.asked == [("model.safetensors", 4), ("config.json", 1 << 20)]


@pytest.mark.parametrize(
    "data", [b"GGUF", b"GGUF" + b"\xff" * 4000, b"GGUF\3\0\0\0" + b"\0" * 100], ids=["short", "nonsense", "empty"]
)
def test_what_is_no_header_is_no_reason_to_fetch_it_all(data, estimate):
    offer = Offer(("odd.gguf", "model", data))

    foretold("odd", offer, {}, estimate)

    assert [n for _, n in offer.asked[1:]] in ([HEADER_BYTES[0]], [*HEADER_BYTES])


def test_more_of_a_header_is_fetched_only_where_it_is_not_whole():
    """Not where nobody serves the model: the rest of it says nothing else."""

    def estimate(spec):
        raise NoBackend("Nobody serves it.")

    offer = Offer(("odd.gguf", "model", b"GGUF" + b"x" * HEADER_BYTES[1]))

    assert foretold("odd", offer, {}, estimate) is None
    assert [n for _, n in offer.asked[1:]] == [HEADER_BYTES[0]]


def test_an_offer_that_shows_nothing_foretells_nothing(estimate):
    class Closed:
        files = (OfferedFile(name="model.gguf", size=100),)

    assert foretold("closed", Closed(), {}, estimate) is None


@pytest.mark.real_model
def test_a_pull_says_it_and_fetches_little_more(tiny_gguf, estimate, tmp_path):
    plugins = load_plugins(builtin=[("sources", installed)], only=[])
    said = []
    with running_site() as site:
        data = tiny_gguf.read_bytes()
        site.pages["/tiny.gguf"] = Page(data, headers={"ETag": '"1"'})
        pull(
            f"{site.url}/tiny.gguf",
            store=ModelStore(tmp_path / "models"),
            plugins=plugins,
            progress=lambda _: None,
            foresee=said.append,
            estimate=estimate,
        )

    (found,) = said
    assert found.download_bytes == len(data)
    assert found.needed_bytes > len(data) * 2, "its cache and its process are more than the rule of thumb knows"
