"""A models folder that another program of this layout made, used in place."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.errors import ModelExists
from aiadmin_core.sources import FetchedModel
from aiadmin_server.store.defaults import FALLBACK
from aiadmin_server.store.store import ModelStore

Fetch = Callable[..., FetchedModel]


def blob(root: Path, data: bytes, media_type: str) -> dict[str, Any]:
    hexadecimal = hashlib.sha256(data).hexdigest()
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    (root / "blobs" / f"sha256-{hexadecimal}").write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{hexadecimal}", "size": len(data)}


def manifest(root: Path, name: str, *layers: dict[str, Any], config: dict[str, Any] | None = None) -> Path:
    described = config or {"model_format": "gguf", "model_family": "llama", "model_type": "8B", "file_type": "Q4_0"}
    path = root / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": blob(root, json.dumps(described).encode(), "application/vnd.docker.container.image.v1+json"),
        "layers": list(layers),
    }
    path.write_text(json.dumps(whole))
    return path


@pytest.fixture
def foreign(root: Path) -> Path:
    """`llama3:8b`, with every kind of layer."""
    kind = "application/vnd.ollama.image."
    return manifest(
        root,
        "registry.ollama.ai/library/llama3/8b",
        blob(root, b"GGUF llama", kind + "model"),
        blob(root, b"GGUF eyes", kind + "projector"),
        blob(root, b"{{ .Prompt }}", kind + "template"),
        blob(root, b"Be brief.", kind + "system"),
        blob(root, b'{"stop": ["</s>"], "num_ctx": 4096}', kind + "params"),
        blob(root, b"A licence", kind + "license"),
        blob(root, b"[]", kind + "messages"),
        blob(root, b"?", kind + "something.new"),
    )


def everything(root: Path) -> dict[str, bytes]:
    """The folder without what is ours."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_relative_to(root / "aiadmin")
    }


def test_its_models_are_listed_and_served(store: ModelStore, foreign: Path):
    (model,) = store.models()
    assert model.name == "llama3:8b"
    assert (model.info.architecture, model.info.quantization, model.info.parameter_size) == ("llama", "Q4_0", "8B")
    assert model.digest == "sha256:" + hashlib.sha256(foreign.read_bytes()).hexdigest()
    spec = store.spec(model)
    assert [file.role for file in spec.files] == ["model", "projector"]
    assert spec.system == "Be brief."
    assert spec.parameters == {"stop": ["</s>"], "num_ctx": 4096, **FALLBACK}, "it says nothing of sampling"
    assert spec.template == "{{ .Prompt }}"


def test_reading_writes_nothing(store: ModelStore, root: Path, foreign: Path):
    before = sorted(root.rglob("*"))
    for model in store.models():
        store.spec(model)
    store.problems()
    assert sorted(root.rglob("*")) == before


def test_removing_our_model_prunes_only_what_we_wrote(store: ModelStore, root: Path, foreign: Path, fetched: Fetch):
    """A blob that nobody needs and that is not ours stays: its owner may be pulling right now."""
    blob(root, b"half a pull of somebody else", "")
    before = everything(root)
    store.add("ours", fetched(b"GGUF ours"))
    store.add("same", fetched(b"GGUF llama"))
    store.remove("ours")
    store.remove("same")
    assert everything(root) == before


def test_a_blob_that_both_need_stays(store: ModelStore, root: Path, fetched: Fetch):
    store.add("ours", fetched(b"GGUF both"))
    layer = blob(root, b"GGUF both", "application/vnd.ollama.image.model")
    manifest(root, "registry.ollama.ai/library/theirs/latest", layer)
    store.remove("ours")
    assert store.intact(store.find("theirs"))


def test_removing_their_model_leaves_their_blobs_to_them(store: ModelStore, root: Path, foreign: Path):
    n_blobs = len(list((root / "blobs").iterdir()))
    assert store.remove("llama3:8b") == 0
    assert store.models() == []
    assert len(list((root / "blobs").iterdir())) == n_blobs


def test_a_copy_of_theirs_is_one_they_can_read(store: ModelStore, root: Path, foreign: Path):
    store.copy("llama3:8b", "gpt-4")
    assert (root / "manifests/registry.ollama.ai/library/gpt-4/latest").read_bytes() == foreign.read_bytes()


def test_a_pull_does_not_replace_theirs(store: ModelStore, foreign: Path, fetched: Fetch):
    with pytest.raises(ModelExists, match="put there by another program"):
        store.add("llama3:8b", fetched(b"1", origin="file:x"))


def test_what_is_broken_is_named_and_does_not_hide_the_rest(store: ModelStore, root: Path, foreign: Path):
    folder = root / "manifests/registry.ollama.ai/library"
    broken = {
        "empty": b"",
        "cut": foreign.read_bytes()[:40],
        "list": b"[]",
        "evil": b'{"config": {"digest": "sha256:../../../etc/passwd"}, "layers": []}',
        "binary": b"\xff\xfe\x00",
        "deep": b'{"layers": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    }
    for name, content in broken.items():
        (folder / name).mkdir()
        (folder / name / "latest").write_bytes(content)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "llama3" / ".8b.swp").write_bytes(b"x")
    (folder / "a folder").mkdir()

    assert [model.name for model in store.models()] == ["llama3:8b"]
    assert len(store.problems()) == len(broken)
    assert all(store.find(name) is None for name in broken)


def test_nothing_is_pruned_while_a_manifest_cannot_be_read(store: ModelStore, root: Path, fetched: Fetch):
    store.add("a", fetched(b"1"))
    store.add("b", fetched(b"2"))
    path = root / "manifests/registry.ollama.ai/library/b/latest"
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert store.remove("a") == 0
    path.write_bytes(whole)
    assert store.intact(store.find("b"))
    store.remove("b")
    assert list((root / "blobs").iterdir()) == []


@pytest.mark.parametrize("params", [b"{", b"[]", b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", b"\xff"])
def test_parameters_that_cannot_be_read_count_as_none(store: ModelStore, root: Path, params: bytes):
    layers = [
        blob(root, data, "application/vnd.ollama.image." + kind) for kind, data in [("model", b"1"), ("params", params)]
    ]
    manifest(root, "registry.ollama.ai/library/m/latest", *layers)
    (model,) = store.models()
    assert model.parameters == {}
    assert store.intact(model)


def test_missing_blobs_are_problems(store: ModelStore, root: Path, foreign: Path):
    for path in (root / "blobs").iterdir():
        path.unlink()
    (model,) = store.models()
    assert len(store.problems()) == 9
    assert not store.intact(model)


def test_models_that_run_elsewhere_are_listed_as_such(store: ModelStore, root: Path):
    manifest(root, "registry.ollama.ai/library/big/cloud", config={"remote_host": "https://example.com"})
    (model,) = store.models()
    assert (model.name, model.format, model.files) == ("big:cloud", "other", ())


def test_other_hosts_and_spellings_are_kept(store: ModelStore, root: Path):
    layer = blob(root, b"GGUF x", "application/vnd.ollama.image.model")
    manifest(root, "hf.co/Org/Model-GGUF/Q4_K_M", layer)
    found = store.find("hf.co/org/model-gguf:q4_k_m")
    assert found is not None
    assert found.name == "hf.co/Org/Model-GGUF:Q4_K_M"
    assert store.copy("hf.co/org/model-gguf:q4_k_m", "HF.CO/org/other").name == "hf.co/Org/other:latest"
