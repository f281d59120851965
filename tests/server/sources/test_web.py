"""Models at web addresses."""

import hashlib
from pathlib import Path

import pytest

from aiadmin_core.errors import BadRequest, ModelNotFound, NotAllowed, PullFailed
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import Caller, Progress
from aiadmin_server.pull import pull
from aiadmin_server.sources import installed
from aiadmin_server.store.store import ModelStore

from .site import Page, running_site

DATA = b"GGUF" + b"w" * 3_000_000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def site():
    with running_site() as site:
        site.pages["/models/My%20Model-Q4.gguf"] = Page(DATA, headers={"ETag": '"1"'})
        site.pages["/page"] = Page(b"<html>", headers={"Content-Type": "text/html"})
        yield site


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def get(store):
    plugins = load_plugins(builtin=[("sources", installed)], only=[])

    def run(reference, **how):
        how.setdefault("progress", lambda _: None)
        return pull(reference, store=store, plugins=plugins, **how)

    return run


def test_a_file_is_fetched_and_named_after_itself(site, get, store):
    steps: list[Progress] = []
    model = get(f"{site.url}/models/My%20Model-Q4.gguf?token=secret", progress=steps.append)
    assert model.name == "my-model-q4:latest"
    assert model.origin == f"{site.url}/models/My%20Model-Q4.gguf", "without what may be secret"
    assert model.weights_digest == f"sha256:{DIGEST}"
    assert steps[-2].status == "writing manifest"
    assert max(step.completed for step in steps) == len(DATA)


def test_a_digest_is_held_to(site, get, store):
    url = f"{site.url}/models/My%20Model-Q4.gguf"
    model = get(f"{url}#sha256={DIGEST}", name="right")
    site.asked.clear()
    assert get(f"{url}#sha256={DIGEST}", name="right") == model
    assert get(f"{url}#sha256={DIGEST}", name="again").weights_digest == model.weights_digest
    assert len(site.asked) == 2, "the first bytes alone: the file is here"
    with pytest.raises(PullFailed, match="not the file it should be"):
        get(f"{url}#sha256={'0' * 64}", name="wrong")
    with pytest.raises(PullFailed, match="not the file it should be"):
        get(url, name="wrong", expected_digest="sha256:" + "0" * 64)
    assert store.find("wrong") is None


def test_what_is_no_model_is_said_before_it_is_fetched(site, get, store):
    with pytest.raises(PullFailed, match="there is no GGUF file"):
        get(f"{site.url}/page")
    with pytest.raises(ModelNotFound) as caught:
        get(f"{site.url}/nothing.gguf")
    assert "has nothing there" in caught.value.hint
    with pytest.raises(BadRequest, match="is no digest"):
        get(f"{site.url}/page#md5=1")
    with pytest.raises(NotAllowed, match="plain http"):
        get("http://files.example/x.gguf")
    assert store.models() == []


def test_parts_of_a_model_are_one(site, get):
    parts = [b"GGUF" + bytes([i]) * 1000 for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        site.pages[f"/big-{i:05}-of-00002.gguf"] = Page(part, headers={"ETag": '"1"'})
    model = get(f"{site.url}/big-00001-of-00002.gguf")
    assert model.name == "big:latest"
    assert [Path(file.path).read_bytes() for file in model.files] == parts


def test_a_file_that_changes_under_the_download_is_fetched_anew(site, get):
    """What had come of the old one is not mixed with the new."""
    other = b"GGUF" + b"n" * 3_000_000
    path = "/models/My%20Model-Q4.gguf"

    def stop(step):
        if step.completed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(f"{site.url}{path}", name="m", progress=stop)
    site.pages[path] = Page(other, headers={"ETag": '"2"'})
    assert get(f"{site.url}{path}", name="m").weights_digest == "sha256:" + hashlib.sha256(other).hexdigest()


def test_over_http_nobody_reaches_this_machine(site, get):
    with pytest.raises(PullFailed, match="not public"):
        get(f"{site.url}/models/My%20Model-Q4.gguf", caller=Caller(over="http"))
    assert site.asked == []
    allowed = Caller(over="http", private_addresses=True)
    assert get(f"{site.url}/models/My%20Model-Q4.gguf", caller=allowed).format == "gguf"


def test_a_server_without_etag_or_ranges_will_do(site, get):
    site.ranges = False
    site.pages["/plain.gguf"] = Page(DATA)
    assert get(f"{site.url}/plain.gguf").weights_digest == f"sha256:{DIGEST}"
