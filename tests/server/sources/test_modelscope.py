"""Models of ModelScope's hub, from a server on this machine that speaks its protocol."""

import hashlib
import json

import pytest

from aiadmin_core.errors import BadRequest, ModelNotFound, NotAllowed, PullFailed
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import Caller
from aiadmin_server.pull import plan, pull
from aiadmin_server.sources import installed
from aiadmin_server.sources.installed import installed_sources
from aiadmin_server.sources.modelscope import ModelScopeSource, read_listing
from aiadmin_server.store.store import ModelStore

from .site import Page, Stopped, running_site, stop_at

Q4 = b"GGUF four" + b"4" * 3_000_000
Q8 = b"GGUF eight" + b"8" * 600_000
FILES = {"README.md": b"# Tiny", "Q4_K_M/tiny-Q4_K_M.gguf": Q4, "tiny-Q8_0.gguf": Q8, "configuration.json": b"{}"}
LISTING = "/api/v1/models/org/Tiny-GGUF/repo/files"


def listed(files):
    rows = [
        {"Path": name, "Size": len(data), "Type": "blob", "Sha256": hashlib.sha256(data).hexdigest(), "IsLFS": True}
        for name, data in files.items()
    ]
    rows.append({"Path": "Q4_K_M", "Size": 0, "Type": "tree"})
    return json.dumps({"Code": 200, "Success": True, "Data": {"Files": rows}}).encode()


@pytest.fixture
def hub():
    with running_site() as site:
        site.pages[LISTING] = Page(listed(FILES), headers={"Content-Type": "application/json"})
        for name, data in FILES.items():
            site.pages[f"/models/org/Tiny-GGUF/resolve/master/{name}"] = Page(
                status=302, headers={"Location": f"/cdn/{name}?signature=1"}
            )
            site.pages[f"/cdn/{name}"] = Page(data, headers={"ETag": '"1"'})
        yield site


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def pull_here(hub, store):
    class Plugin:
        @hookimpl
        def aiadmin_sources(self):
            return [ModelScopeSource(hub.url)]

    plugins = load_plugins(builtin=[("hub", Plugin())], only=[])

    def run(reference, **how):
        how.setdefault("progress", lambda _: None)
        return pull(reference, store=store, plugins=plugins, **how)

    return run


def test_the_usual_quantization_is_taken_where_nobody_says(pull_here, store):
    model = pull_here("modelscope.cn/org/Tiny-GGUF")

    assert model.name == "modelscope.cn/org/Tiny-GGUF:Q4_K_M"
    assert model.origin == "modelscope:org/Tiny-GGUF"
    assert model.weights_digest == f"sha256:{hashlib.sha256(Q4).hexdigest()}"
    assert store.intact(model, thorough=True)
    assert pull_here("https://www.modelscope.cn/models/org/Tiny-GGUF") == model


@pytest.mark.parametrize(
    "reference",
    [
        "modelscope:org/Tiny-GGUF:q8_0",
        "https://modelscope.cn/models/org/Tiny-GGUF/resolve/master/tiny-Q8_0.gguf",
        "https://modelscope.cn/models/org/Tiny-GGUF/file/view/master/tiny-Q8_0.gguf?status=2",
    ],
)
def test_a_quantization_or_a_file_can_be_named(pull_here, reference):
    assert pull_here(reference, name="eight").weights_digest == f"sha256:{hashlib.sha256(Q8).hexdigest()}"


def test_what_has_come_is_not_fetched_again(hub, pull_here, store):
    stop = stop_at(1 << 20)
    hub.cut_after = 1 << 20
    with pytest.raises(Stopped):
        pull_here("modelscope.cn/org/Tiny-GGUF", progress=lambda step: stop(step.completed))
    assert store.models() == []
    hub.asked.clear()

    assert pull_here("modelscope.cn/org/Tiny-GGUF").weights_digest.startswith("sha256:")
    assert min(hub.starts) >= 1 << 20


def test_what_is_changed_on_the_way_is_not_stored(hub, pull_here, store):
    hub.pages["/cdn/tiny-Q8_0.gguf"] = Page(Q8[:-1] + b"!", headers={"ETag": '"1"'})

    with pytest.raises(PullFailed, match="digest"):
        pull_here("modelscope:org/Tiny-GGUF:q8_0")
    assert store.models() == []


@pytest.mark.parametrize(
    ("page", "error", "says"),
    [
        (Page(b'{"Code": 10010205001, "Message": "no"}', 404), ModelNotFound, "no such model"),
        (Page(b'{"Code": 10010205001, "Message": "no"}'), ModelNotFound, "no such model"),
        (Page(b"<html>busy</html>"), PullFailed, "does not list"),
        (Page(b'{"Data": 5}'), PullFailed, "does not list"),
        (Page(b"", 503), PullFailed, "503"),
        (Page(b"", 403), PullFailed, "everybody"),
    ],
)
def test_a_hub_that_has_no_answer_is_told_of(hub, pull_here, page, error, says):
    hub.pages[LISTING] = page

    with pytest.raises(error) as caught:
        pull_here("modelscope.cn/org/Tiny-GGUF")
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_what_is_no_repository_is_refused(pull_here):
    with pytest.raises(BadRequest, match="names no model"):
        pull_here("modelscope:just-a-word")


def test_over_http_nobody_reaches_this_machine_by_it(pull_here):
    with pytest.raises((NotAllowed, PullFailed), match=r"not public|plain http"):
        pull_here("modelscope.cn/org/Tiny-GGUF", caller=Caller(over="http"))


@pytest.mark.parametrize("host", ["modelscope.cn", "https://modelscope.cn/models"])
def test_its_names_are_no_registrys(host):
    plugins = load_plugins(builtin=[("sources", installed)], only=[])
    assert plan(f"{host}/Qwen/Qwen3-8B-GGUF", [], installed_sources(plugins)).source.scheme == "modelscope"


def test_small_files_are_known_by_no_digest_of_their_own():
    files = read_listing(json.dumps({"Data": {"Files": [{"Path": "a", "Size": 3, "Sha256": ""}]}}).encode(), "o/r")
    assert [(file.name, file.size, file.digest) for file in files] == [("a", 3, "")]
