"""Against Debian's `docker-registry`: push, pull, breaks in the middle, who may."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiadmin_core.errors import ModelExists, ModelNotFound, PullFailed, PushFailed
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Progress
from aiadmin_server.push import push
from aiadmin_server.sources.local import LocalSource
from aiadmin_server.sources.registry.source import RegistryAccess, RegistrySource
from aiadmin_server.store.manifest import LAYER_TYPE, digest_of
from aiadmin_server.store.store import ModelStore

from .running import running_registry

SIZE = 24 << 20
SECRET = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""bcrypt of `secret`."""


def add(store: ModelStore, name: str, path: Path, **fields: Any) -> Any:
    fetched = FetchedModel(files=(FetchedFile(path=path),), format="gguf", **fields)
    return store.add(name, fetched)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that looks like a model: what it holds is nothing to a registry."""
    path = tmp_path_factory.mktemp("weights") / "weights.gguf"
    path.write_bytes(
        b"GGUF" + b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() * 32 for i in range(SIZE // 1024))
    )
    return path


@pytest.mark.real_model
def test_a_model_that_was_pushed_comes_back_the_same(registry, store, smollm2_gguf, pull_here, push_from):
    said = {"system": "Be brief.", "parameters": {"stop": ["x"], "top_k": 3}, "license": "MIT"}
    before = add(store, f"{registry}/team/smollm2:q4", smollm2_gguf, **said)
    steps = push_from(f"{registry}/team/smollm2:q4")
    assert steps[0].status == "retrieving manifest"
    assert {step.status for step in steps} >= {"pushing manifest", "success", f"pushing {before.weights_digest[7:19]}"}
    assert max(step.completed for step in steps) == smollm2_gguf.stat().st_size

    store.remove(before.name)
    assert store.models() == []
    seen: list[Progress] = []
    after = pull_here(f"{registry}/team/smollm2:q4", steps=seen)

    assert (after.name, after.digest, after.weights_digest) == (before.name, before.digest, before.weights_digest)
    assert (after.system, after.parameters, after.license) == ("Be brief.", {"stop": ["x"], "top_k": 3}, "MIT")
    assert after.origin == f"registry:{registry}/team/smollm2:q4"
    assert store.intact(after, thorough=True)
    assert [step.status for step in seen if not step.total][:1] == ["pulling manifest"]
    assert seen[-1].status == "success"
    down = [step for step in seen if step.status == "downloading"]
    assert down[-1].completed == down[-1].total == smollm2_gguf.stat().st_size
    assert down[-1].digest == after.weights_digest


def test_a_second_pull_fetches_nothing(registry, proxy, store, weights, pull_here, push_from):
    add(store, "mine", weights)
    push_from("mine", f"{registry}/team/again")
    first = pull_here(f"{proxy.host}/team/again")
    assert not any(b"/blobs/" + first.weights_digest.encode() in request for request in proxy.requests), (
        "it is here as `mine`"
    )
    proxy.requests.clear()
    seen: list[Progress] = []
    assert pull_here(f"{proxy.host}/team/again", steps=seen) == first
    assert [step.status for step in seen] == ["pulling manifest", "already here and complete"]
    assert not any(b"/blobs/" in request for request in proxy.requests)


def test_what_another_program_pulled_is_not_touched_where_it_is_the_same(
    registry, store, tmp_path, weights, pull_here, push_from
):
    made = add(store, "theirs", weights)
    push_from("theirs", f"{registry}/team/theirs")
    foreign = tmp_path / "foreign"
    folder = foreign / "manifests" / registry / "team" / "theirs"
    folder.mkdir(parents=True)
    (folder / "latest").write_bytes((store.root / "manifests/registry.ollama.ai/library/theirs/latest").read_bytes())
    (store.root / "blobs").rename(foreign / "blobs")
    before = {path: path.stat().st_mtime_ns for path in foreign.rglob("*") if path.is_file()}

    model = pull_here(f"{registry}/team/theirs", into=ModelStore(foreign))

    assert (model.digest, model.origin) == (made.digest, "")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (folder / "latest").write_bytes((folder / "latest").read_bytes() + b"\n")  # another version of theirs
    with pytest.raises(ModelExists, match="put there by another program"):
        pull_here(f"{registry}/team/theirs", into=ModelStore(foreign))


def test_a_pull_that_is_cut_goes_on_where_it_was(registry, proxy, store, tmp_path, weights, pull_here, push_from):
    add(store, "mine", weights)
    push_from("mine", f"{registry}/team/cut")
    there = ModelStore(tmp_path / "there")

    class Cut(BaseException):
        pass

    def stop_half_way(step: Progress) -> None:
        if step.completed > SIZE // 2:
            raise Cut

    with pytest.raises(Cut):
        pull_here(f"{proxy.host}/team/cut", into=there, progress=stop_half_way)
    assert there.models() == []
    assert not list(there.root.glob("blobs/sha256-*"))
    fetched = proxy.bytes_sent
    pull_here(f"{proxy.host}/team/cut", into=there)
    (model,) = there.models()
    assert there.intact(model, thorough=True)
    assert proxy.bytes_sent - fetched < SIZE * 0.6, "the first half was kept"


def test_a_line_that_breaks_again_and_again_still_brings_the_model(
    registry, proxy, store, tmp_path, weights, pull_here, push_from
):
    add(store, "mine", weights)
    push_from("mine", f"{registry}/team/broken")
    there = ModelStore(tmp_path / "there")
    proxy.cut_after = 0

    def mend(step: Progress) -> None:
        proxy.cut_after = proxy.bytes_sent + SIZE // 5

    proxy.cut_after = SIZE // 5
    model = pull_here(f"{proxy.host}/team/broken", into=there, progress=mend)
    assert there.intact(model, thorough=True)
    assert sum(b"/blobs/" + model.weights_digest.encode() in request for request in proxy.requests) > 1


def test_pulls_of_the_same_files_share_what_comes(registry, proxy, store, tmp_path, weights, pull_here, push_from):
    """Of two names, at the same time."""
    add(store, "mine", weights)
    add(store, "other", weights, system="Be brief.")
    push_from("mine", f"{registry}/team/one")
    push_from("other", f"{registry}/team/two")
    there = ModelStore(tmp_path / "there")
    proxy.delay_s = 0.001
    seen: dict[str, list[Progress]] = {"one": [], "two": []}
    threads = [
        threading.Thread(target=pull_here, args=(f"{proxy.host}/team/{name}", there, seen[name])) for name in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    models = there.models()
    assert len(models) == 2
    assert all(there.intact(model, thorough=True) for model in models)
    assert proxy.bytes_sent < SIZE * 1.2
    assert sum(step.status.startswith("waiting for another pull") for steps in seen.values() for step in steps) == 1


def test_a_push_that_is_cut_shows_nobody_half_a_model_and_goes_on(
    registry, store, weights, push_from, pull_here, tmp_path
):
    add(store, "mine", weights, system="cut")
    (store.root / "other.gguf").write_bytes(b"GGUF other" * 500_000)
    store.add("two", FetchedModel(files=(
        FetchedFile(path=weights, keep_in_place=True), FetchedFile(path=store.root / "other.gguf", keep_in_place=True),
    ), format="gguf"))  # fmt: skip
    n_second = (store.root / "other.gguf").stat().st_size

    class Cut(BaseException):
        pass

    def stop_in_the_second(step: Progress) -> None:
        if step.total == n_second and step.completed > n_second // 2:
            raise Cut

    with pytest.raises(Cut):
        push_from("two", f"{registry}/team/push-cut", progress=stop_in_the_second)
    with pytest.raises(ModelNotFound):
        pull_here(f"{registry}/team/push-cut", into=ModelStore(tmp_path / "none"))
    steps = push_from("two", f"{registry}/team/push-cut")
    assert [step.completed for step in steps if step.total == SIZE + 4] == [SIZE + 4], "it was not sent again"
    model = pull_here(f"{registry}/team/push-cut", into=ModelStore(tmp_path / "there"))
    assert [file.digest for file in model.files] == [file.digest for file in store.find("two").files]


def test_a_model_of_several_files_comes_back_as_it_was(registry, store, tiny_mlx, tmp_path, push_from, pull_here):
    fetched = LocalSource(in_place=True).fetch(str(tiny_mlx), workdir=tmp_path, progress=lambda _: None)
    before = store.add("tiny", fetched)
    push_from("tiny", f"{registry}/team/tiny-mlx")
    there = ModelStore(tmp_path / "there")
    after = pull_here(f"{registry}/team/tiny-mlx", into=there)
    assert after.format == "safetensors"
    assert {file.name: file.digest for file in after.files} == {file.name: file.digest for file in before.files}
    assert all(Path(file.path).is_relative_to(there.root) for file in after.files), (
        "not where it lay on the other machine"
    )
    assert there.intact(after, thorough=True)


def test_layers_of_ollamas_are_used_with_all_they_say(registry, store, pull_here, weights, tmp_path):
    """A manifest as Ollama writes it, put there layer by layer."""
    template = "{{ if .System }}<s>{{ .System }}{{ end }}{{ .Prompt }}"
    texts = {
        "template": template.encode(),
        "system": b"Be brief.",
        "params": b'{"stop":["<|end|>","<|eot|>"],"temperature":0.3,"num_ctx":4096,"num_keep":24}',
        "license": b"A licence",
        "messages": b'[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]',
        "something.new": b"?",
    }
    projector = b"GGUF eyes"
    config = json.dumps(
        {"model_format": "gguf", "model_family": "llama", "model_type": "8B", "file_type": "Q4_0"}
    ).encode()
    base = f"http://{registry}/v2/team/llama"
    data = weights.read_bytes()
    layers = [(LAYER_TYPE + "model", data), (LAYER_TYPE + "projector", projector)]
    layers += [(LAYER_TYPE + kind, text) for kind, text in texts.items()]

    def put(body: bytes) -> None:
        upload = httpx.post(f"{base}/blobs/uploads/").headers["location"]
        httpx.put(f"{upload}&digest={digest_of(body)}", content=body, timeout=30).raise_for_status()

    for body in (config, *(body for _, body in layers)):
        put(body)

    def layer(kind: str, body: bytes) -> dict[str, Any]:
        return {"mediaType": kind, "digest": digest_of(body), "size": len(body)}

    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": media_type,
        "config": layer("application/vnd.docker.container.image.v1+json", config),
        "layers": [layer(kind, body) for kind, body in layers],
    }, indent=1).encode()  # fmt: skip
    httpx.put(f"{base}/manifests/8b", content=manifest, headers={"Content-Type": media_type}).raise_for_status()

    model = pull_here(f"{registry}/team/llama:8b")

    assert model.digest == digest_of(manifest)
    assert (model.system, model.template, model.license) == ("Be brief.", template, "A licence")
    assert model.parameters == {"stop": ["<|end|>", "<|eot|>"], "temperature": 0.3, "num_ctx": 4096, "num_keep": 24}
    assert [message.role for message in model.messages] == ["user", "assistant"]
    assert [file.role for file in model.files] == ["model", "projector"]
    assert (store.root / "manifests" / registry / "team/llama/8b").read_bytes() == manifest, "others read it, too"


CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""


@pytest.mark.real_model
def test_a_model_of_ollamas_answers_as_its_manifest_says(registry, product, smollm2_gguf, tmp_path):
    """Its template, its system message, its stop strings; options that mean nothing here cost nothing."""
    own = product.clone(tmp_path / "state")
    store = ModelStore(tmp_path / "ollama")
    parameters = {"temperature": 0, "num_predict": 24, "num_keep": 24, "stop": ["<|im_end|>"], "num_ctx": 1024}
    said = {"template": CHATML, "system": "You are a pirate.", "parameters": parameters}
    made = add(store, f"{registry}/team/pirate", smollm2_gguf, **said)
    assert made.template == CHATML
    send_all(store, made.name)
    own.run("pull", f"{registry}/team/pirate", "--as", "pirate")
    shown = own.run("show", "pirate").stdout
    assert "You are a pirate." in shown
    assert len(own.run("run", "pirate", "Who are you?").stdout.split()) > 2


def send_all(store: ModelStore, name: str) -> None:
    push(name, store=store, access=RegistryAccess(""), progress=lambda _: None)


def test_what_is_not_there_is_said(registry, pull_here, push_from, store):
    with pytest.raises(ModelNotFound) as caught:
        pull_here(f"{registry}/team/nothing:7b")
    assert f"The registry {registry} has no 'team/nothing:7b'" in caught.value.hint
    with pytest.raises(ModelNotFound):
        push_from("nothing", f"{registry}/team/nothing")
    assert store.models() == []


def test_a_registry_that_is_not_there_is_said(pull_here):
    with pytest.raises(PullFailed, match=r"127\.0\.0\.1:1 cannot be reached"):
        pull_here("127.0.0.1:1/team/model")


def test_names_that_a_registry_does_not_take_are_said_in_its_words(registry, push_from, store, weights):
    add(store, "mine", weights)
    with pytest.raises(PushFailed, match="does not take the name 'Team/UPPER'"):
        push_from("mine", f"{registry}/Team/UPPER")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry that wants `me:secret`."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "htpasswd").write_text(f"me:{SECRET}\n")
    with running_registry(folder, f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}") as host:
        yield host


def test_credentials_are_shown_to_their_registry_alone(
    locked, store, weights, push_from, pull_here, tmp_path, monkeypatch
):
    add(store, "mine", weights)
    with pytest.raises(PushFailed, match=f"{locked} wants to know who you are for 'team/mine'"):
        push_from("mine", f"{locked}/team/mine")
    push_from("mine", f"{locked}/team/mine", RegistryAccess("", {locked: ("me", "secret")}))
    with pytest.raises(PushFailed, match="refuses your credentials"):
        push_from("mine", f"{locked}/team/mine", RegistryAccess("", {locked: ("me", "wrong")}))
    monkeypatch.setenv("AIADMIN_REGISTRY_CREDENTIALS", f"{locked}=me:secret other.example=x:y")
    assert pull_here(f"{locked}/team/mine", into=ModelStore(tmp_path / "there")).format == "gguf"


def test_names_without_a_host_are_the_default_registrys(
    registry, store, weights, push_from, pull_here, tmp_path, monkeypatch
):
    add(store, "plain", weights)
    push_from("plain", access=RegistryAccess(f"http://{registry}"))
    monkeypatch.setenv("AIADMIN_REGISTRY", f"http://{registry}")
    model = pull_here("plain", into=ModelStore(tmp_path / "there"))
    assert (model.name, model.origin) == ("plain:latest", f"registry:{registry}/library/plain:latest")


def test_the_command_line_pushes_and_pulls(registry, product, tmp_path):
    own = product.clone(tmp_path / "state")
    pushed = own.run("push", "smollm2", f"{registry}/team/smollm2")
    assert f"Pushed {registry}/team/smollm2." in pushed.stderr
    for model in json.loads(own.run("list", "--json").stdout):
        own.run("rm", model["name"])
    pulled = own.run("pull", f"{registry}/team/smollm2", "--as", "back")
    assert "to fetch" in pulled.stderr
    assert "It takes about" in pulled.stderr
    assert "Pulled back:latest" in pulled.stderr
    own.run("set", "back", "--temperature", "0")  # a small model may go on and on
    assert len(own.run("run", "back", "Say this is a test").stdout.split()) > 2
    fetched = own.run("run", f"{registry}/team/smollm2", "Say this is a test", "--max-tokens", "8")
    assert "is not here yet: pulling it" in fetched.stderr
    failed = own.run("push", "smollm2", f"{registry}/team/smollm2", check=False)
    assert failed.returncode == 1
    assert "'smollm2' was not found" in failed.stderr


def test_a_file_can_be_looked_into_before_it_comes(registry, store, weights, push_from):
    add(store, f"{registry}/team/shown:latest", weights)
    push_from(f"{registry}/team/shown:latest")

    offer = RegistrySource(lambda: RegistryAccess("")).offer(Caller(), f"{registry}/team/shown:latest")

    assert offer.beginning(offer.files[0], 100) == weights.read_bytes()[:100]
