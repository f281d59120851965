"""Models of a hub, through the hub's own library, from a server on this machine that speaks its protocol."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from aiadmin_core.errors import ModelNotFound, PullFailed
from aiadmin_core.sources import Caller, Progress
from aiadmin_server.sources.huggingface.choosing import RemoteFile
from aiadmin_server.sources.huggingface.hub import Hub
from aiadmin_server.sources.huggingface.source import HuggingFaceSource

from ..site import Stopped, stop_at
from .conftest import COMMIT, TOKEN

Q4 = b"GGUF four" + b"4" * 300_000
Q8 = b"GGUF eight" + b"8" * 600_000
HTTP = Caller(over="http", identity="somebody")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def quantized(hub):
    hub.repos["org/Tiny-GGUF"] = {
        "README.md": b"# Tiny",
        "tiny-Q8_0.gguf": Q8,
        "tiny-Q4_K_M.gguf": Q4,
        "tiny.imatrix.gguf": b"GGUF i" * 1000,
        "config.json": b"{}",
    }


def test_the_usual_quantization_is_taken_where_nobody_says(hub, pull_here, store):
    steps: list[Progress] = []
    model = pull_here("hf.co/org/Tiny-GGUF", steps)
    assert model.name == "hf.co/org/Tiny-GGUF:Q4_K_M"
    assert model.origin == "hf:org/Tiny-GGUF"
    assert (model.format, model.weights_digest) == ("gguf", digest(Q4))
    assert store.intact(model, thorough=True)
    down = [step for step in steps if step.status == "downloading"]
    assert down[-1].completed == down[-1].total == len(Q4)
    assert down[-1].digest == digest(Q4)
    hub.requests.clear()
    again: list[Progress] = []
    assert pull_here("https://huggingface.co/org/Tiny-GGUF", again) == model
    hub.repos["ORG/tiny-gguf"] = hub.repos["org/Tiny-GGUF"]
    assert pull_here("hf.co/ORG/tiny-gguf") == model, "in whatever case it is written"
    assert [step.status for step in again] == ["pulling manifest", "already here and complete"]


@pytest.mark.parametrize(
    "reference",
    [
        "hf:org/Tiny-GGUF:q8_0",
        "huggingface.co/org/Tiny-GGUF:tiny-Q8_0.gguf",
        "https://huggingface.co/org/Tiny-GGUF/blob/main/tiny-Q8_0.gguf?download=true",
        "hf:org/Tiny-GGUF@v2:Q8_0",
    ],
)
def test_a_quantization_is_named_in_many_ways(pull_here, reference):
    model = pull_here(reference)
    assert (model.name, model.weights_digest) == ("hf.co/org/Tiny-GGUF:Q8_0", digest(Q8))


def test_one_that_is_not_there_is_said_with_those_that_are(pull_here, store):
    with pytest.raises(PullFailed, match=r"has no 'Q2_K'. It has: Q4_K_M \(0.0 GB\), Q8_0 \(0.0 GB\)"):
        pull_here("hf.co/org/Tiny-GGUF:Q2_K")
    with pytest.raises(ModelNotFound) as caught:
        pull_here("hf.co/org/nothing")
    assert "no such repository" in caught.value.hint
    with pytest.raises(ModelNotFound) as caught:
        pull_here("hf.co/org/Tiny-GGUF@none")
    assert "no revision 'none'" in caught.value.hint
    assert store.models() == []


def test_a_split_model_and_its_projector_are_one_model(hub, pull_here):
    parts = [b"GGUF part %d" % i + bytes([i]) * 5000 for i in (1, 2, 3)]
    hub.repos["org/split"] = {f"Q4/big-Q4_K_M-{i:05}-of-00003.gguf": part for i, part in enumerate(parts, 1)}
    hub.repos["org/split"] |= {"mmproj-BF16.gguf": b"GGUF b" * 500, "mmproj-F16.gguf": b"GGUF f" * 500}
    model = pull_here("hf.co/org/split:Q4_K_M")
    assert [(file.role, Path(file.path).read_bytes()) for file in model.files] == [
        *(("model", part) for part in parts),
        ("projector", b"GGUF f" * 500),
    ]
    assert model.files[0].name == "big-Q4_K_M-00001-of-00003.gguf"


def test_safetensors_come_with_the_files_beside_them(hub, pull_here, tiny_mlx):
    files = {path.name: path.read_bytes() for path in tiny_mlx.iterdir()}
    other = {"consolidated.safetensors": b"x" * 2000, "README.md": b"#", "original/params.json": b"{}"}
    hub.repos["org/raw"] = files | other
    model = pull_here("hf.co/org/raw")
    assert (model.name, model.format) == ("hf.co/org/raw:latest", "safetensors")
    assert {file.name for file in model.files} == set(files)
    assert next(file.role for file in model.files if file.name == "tokenizer.json") == "tokenizer"
    hub.repos["org/Tiny-GGUF"] |= files
    assert pull_here("hf.co/org/Tiny-GGUF:safetensors").format == "safetensors"


def test_what_has_come_before_the_line_broke_or_somebody_stopped_is_not_fetched_again(hub, pull_here, store):
    big = b"GGUF" + b"b" * (3 << 20)
    hub.repos["org/big"] = {"big-Q8_0.gguf": big}
    stop = stop_at(1 << 20)
    hub.cut_after = 1 << 20
    with pytest.raises(Stopped):
        pull_here("hf.co/org/big", progress=lambda step: stop(step.completed))
    assert store.models() == []
    hub.requests.clear()
    assert pull_here("hf.co/org/big").weights_digest == digest(big)
    starts = [int(asked[6:].split("-")[0]) for method, path, asked in hub.requests if path.startswith("/cdn/")]
    assert starts[0] >= 1 << 20
    assert starts == sorted(starts)


@pytest.mark.parametrize("with_xet", [False, True])
def test_a_file_comes_whatever_the_hub_keeps_it_in(hub, pull_here, with_xet):
    hub.with_xet = with_xet
    assert pull_here("hf.co/org/Tiny-GGUF").weights_digest == digest(Q4)


def test_a_file_beyond_what_the_hub_sends_in_one_piece_is_the_librarys(hub, tmp_path):
    found: list[int] = []
    path = Hub(hub.url, anonymous=True, most_bytes=1000).fetch(
        "org/Tiny-GGUF", RemoteFile("tiny-Q4_K_M.gguf", len(Q4)), COMMIT, tmp_path, found.append
    )
    assert path.read_bytes() == Q4
    assert found[-1] == len(Q4)


def test_gated_models_want_a_token_and_say_so(hub, pull_here, monkeypatch):
    hub.gated.add("org/Tiny-GGUF")
    with pytest.raises(PullFailed, match="for those who have agreed to its terms") as caught:
        pull_here("hf.co/org/Tiny-GGUF")
    assert "HF_TOKEN" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pull_here("hf.co/org/Tiny-GGUF").weights_digest == digest(Q4)


def test_over_http_neither_token_nor_cache_of_this_machine_are_used(hub, pull_here, monkeypatch, cache):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hf_hub_download("org/Tiny-GGUF", "tiny-Q4_K_M.gguf", endpoint=hub.url, cache_dir=cache)
    hub.authorizations.clear()
    hub.requests.clear()
    model = pull_here("hf.co/org/Tiny-GGUF", caller=HTTP)
    assert hub.authorizations == {""}
    assert hub.n_sent(digest(Q4)[7:]) == 1
    assert not Path(model.files[0].path).is_relative_to(cache)


def test_what_the_users_cache_has_is_used_where_it_lies_and_offline(hub, pull_here, store, cache):
    path = Path(hf_hub_download("org/Tiny-GGUF", "tiny-Q4_K_M.gguf", endpoint=hub.url, cache_dir=cache)).resolve()
    before = path.stat().st_mtime_ns
    hub.requests.clear()
    model = pull_here("hf.co/org/Tiny-GGUF", name="online")
    assert Path(model.files[0].path) == path
    assert hub.n_sent(digest(Q4)[7:]) == 0
    hub.down = True
    assert pull_here("hf.co/org/Tiny-GGUF", name="offline").weights_digest == digest(Q4)
    with pytest.raises(PullFailed, match="status 503"):
        pull_here("hf.co/org/other")
    store.remove("online")
    store.remove("offline")
    assert path.stat().st_mtime_ns == before


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub, pull_here, store, monkeypatch):
    hub.repos["org/Tiny-GGUF"]["tiny-Q4_K_M.gguf"] = Q4
    with pytest.raises(PullFailed, match="not the file it should be"):
        pull_here("hf.co/org/Tiny-GGUF", expected_digest=digest(Q8))
    assert store.models() == []


def test_the_commit_is_pinned_while_it_is_fetched(hub, pull_here):
    pull_here("hf.co/org/Tiny-GGUF")
    assert all(f"/resolve/{COMMIT}/" in path for _, path, _ in hub.requests if "/resolve/" in path)


def test_a_file_can_be_looked_into_before_it_comes(hub, cache, tmp_path):
    """At the hub, or in its cache."""
    source = HuggingFaceSource(hub.url, cache)
    offer = source.offer(Caller(), "org/Tiny-GGUF")
    (file,) = offer.files

    assert offer.beginning(file, 9) == Q4[:9]
    assert hub.requests[-1][2] == "bytes=0-8"

    hf_hub_download("org/Tiny-GGUF", "tiny-Q4_K_M.gguf", cache_dir=cache, endpoint=hub.url)
    hub.requests.clear()
    assert offer.beginning(file, 9) == Q4[:9]
    assert hub.requests == []
