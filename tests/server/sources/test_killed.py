"""kill -9 in the middle of pulls and pushes: nobody sees half a model, and the next one goes on."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_server.store.manifest import LAYER_TYPE, digest_of
from aiadmin_server.store.store import ModelStore

from .huggingface.conftest import COMMIT
from .registry.running import running_registry
from .registry.test_wire import manifest_of
from .site import Page, running_site

DATA = b"GGUF" + b"".join(hashlib.sha256(i.to_bytes(4)).digest() for i in range(100_000))
N_KILLS = 10
"""Of each kind; `--rounds` does more."""
SLOW_S = 0.01
"""Between two pieces of 64 KB: a whole file takes half a second."""

RUN = """
import sys
from pathlib import Path
from aiadmin_core.plugins import load_plugins
from aiadmin_server.pull import pull
from aiadmin_server.push import push
from aiadmin_server.sources import installed
from aiadmin_server.sources.registry.source import RegistryAccess
from aiadmin_server.store.store import ModelStore
what, root, name, target = sys.argv[1:]
store = ModelStore(Path(root))
print("ready", flush=True)
if what == "pull":
    plugins = load_plugins(builtin=[("sources", installed)], only=[])
    pull(target, name=name, store=store, plugins=plugins, progress=lambda _: None)
else:
    push(name, destination=target, store=store, access=RegistryAccess(""), progress=lambda _: None)
"""


@pytest.fixture
def site():
    with running_site() as site:
        site.pages["/m.gguf"] = Page(DATA, headers={"ETag": '"1"'})
        config = b"{}"
        layer = {"mediaType": LAYER_TYPE + "model", "digest": digest_of(DATA), "size": len(DATA)}
        site.pages["/v2/team/m/manifests/latest"] = Page(manifest_of(layer, config=config))
        for blob in (DATA, config):
            site.pages[f"/v2/team/m/blobs/{digest_of(blob)}"] = Page(blob)
        lfs = {"sha256": digest_of(DATA)[7:], "size": len(DATA), "pointerSize": 1}
        sibling = {"rfilename": "m-Q8_0.gguf", "size": len(DATA), "blobId": "0" * 40, "lfs": lfs}
        listing = {"id": "org/m", "sha": COMMIT, "private": False, "tags": [], "siblings": [sibling]}
        site.pages["/api/models/org/m"] = Page(json.dumps(listing).encode())
        site.pages[f"/org/m/resolve/{COMMIT}/m-Q8_0.gguf"] = Page(DATA)
        yield site


def start(*arguments, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "", **environment},
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


def kill_somewhere(process, within_s):
    """Its exit status: 0 where it was faster."""
    try:
        process.wait(random.random() * within_s)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    return process.returncode


@pytest.mark.parametrize("kind", ["registry", "hub", "web"])
def test_a_pull_that_is_killed_leaves_nothing_to_see_and_the_next_goes_on(site, tmp_path, kind):
    root = tmp_path / "models"
    store = ModelStore(root)
    target = {"registry": f"{site.host}/team/m", "hub": "hf.co/org/m", "web": f"{site.url}/m.gguf"}[kind]
    environment = {"HF_ENDPOINT": site.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}
    for _ in range(N_KILLS):
        site.pause_s = SLOW_S
        status = kill_somewhere(start("pull", str(root), "m", target, **environment), within_s=1.5)
        model = store.find("m")
        assert (model is not None) == (status == 0) or (model is not None and store.intact(model, thorough=True))
        assert store.verify() == []
        assert store.problems() == []
    site.pause_s = 0.0
    process = start("pull", str(root), "m", target, **environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    model = store.find("m")
    assert model is not None
    assert model.weights_digest == digest_of(DATA)
    assert store.intact(model, thorough=True)
    assert not list(root.rglob("*.part"))


def test_a_push_that_is_killed_shows_nobody_half_a_model(tmp_path):
    store = ModelStore(tmp_path / "models")
    path = tmp_path / "m.gguf"
    path.write_bytes(DATA * 8)
    made = store.add("m", FetchedModel(files=(FetchedFile(path=path),), format="gguf"))
    with running_registry(tmp_path) as host:
        for _ in range(N_KILLS):
            status = kill_somewhere(start("push", str(store.root), "m", f"{host}/team/m"), within_s=0.4)
            there = ModelStore(tmp_path / "there")
            process = start("pull", str(there.root), "m", f"{host}/team/m")
            process.communicate(timeout=60)
            assert process.returncode == 0 or status != 0, "what was pushed is there"
            found = there.find("m")
            assert found is None or (found.digest == made.digest and there.intact(found, thorough=True))
            assert store.intact(made, thorough=True)
        process = start("push", str(store.root), "m", f"{host}/team/m")
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
        process = start("pull", str(tmp_path / "last"), "m", f"{host}/team/m")
        process.communicate(timeout=60)
        last = ModelStore(Path(tmp_path / "last")).find("m")
        assert last is not None
        assert last.digest == made.digest
