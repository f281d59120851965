"""What passes between us and a registry, against one of our own that can be told what to say."""

import json
import re

import pytest

from aiadmin_core.errors import InvalidName, ModelNotFound, NotAllowed, PullFailed
from aiadmin_core.sources import Caller
from aiadmin_server.sources.registry.challenge import Challenge, read_challenge, read_token
from aiadmin_server.sources.registry.client import words_of
from aiadmin_server.sources.registry.location import locate
from aiadmin_server.sources.registry.source import RegistryAccess, RegistrySource
from aiadmin_server.store.manifest import LAYER_TYPE, digest_of
from aiadmin_server.store.store import ModelStore

from ..site import Page, running_site

WEIGHTS = b"GGUF" + b"w" * 500_000
CONFIG = json.dumps({"model_format": "gguf"}).encode()
HTTP = Caller(over="http", identity="somebody")
NOBODY = "https://registry.example"


def layer(kind, body, **more):
    return {"mediaType": kind, "digest": digest_of(body), "size": len(body), **more}


def manifest_of(*layers, config=CONFIG):
    described = layer("application/vnd.docker.container.image.v1+json", config)
    return json.dumps({"schemaVersion": 2, "config": described, "layers": list(layers)}).encode()


@pytest.fixture
def site():
    with running_site() as site:
        yield site


@pytest.fixture
def serve(site):
    """Put a model there; every blob is at the place where a CDN would have it."""

    def put(manifest, *blobs, name="team/model", tag="latest"):
        site.pages[f"/v2/{name}/manifests/{tag}"] = Page(manifest)
        for blob in blobs:
            site.pages[f"/v2/{name}/blobs/{digest_of(blob)}"] = Page(
                status=307, headers={"Location": f"/cdn/{digest_of(blob)[7:]}"}
            )
            site.pages[f"/cdn/{digest_of(blob)[7:]}"] = Page(blob)

    return put


@pytest.fixture
def offer(site):
    def ask(reference=None, caller=Caller(), credentials=None, default=NOBODY):
        source = RegistrySource(lambda: RegistryAccess(default, credentials or {}))
        return source.offer(caller, reference or f"{site.host}/team/model")

    return ask


def test_a_manifest_says_what_there_is_before_it_comes(site, serve, offer, pull_here):
    serve(manifest_of(layer(LAYER_TYPE + "model", WEIGHTS)), WEIGHTS, CONFIG)
    found = offer()
    assert [(file.role, file.size, file.digest) for file in found.files] == [
        ("model", len(WEIGHTS), digest_of(WEIGHTS))
    ]
    assert found.suggested_name == f"{site.host}/team/model:latest"
    assert found.origin == f"registry:{site.host}/team/model:latest"
    assert [asked.path for asked in site.asked] == ["/v2/team/model/manifests/latest"]
    assert "vnd.oci.image.manifest.v1+json" in site.asked[0].headers["accept"]
    assert pull_here(f"{site.host}/team/model").weights_digest == digest_of(WEIGHTS)


def test_a_token_is_fetched_where_the_registry_says_and_shown_to_it_alone(site, serve, offer, pull_here, monkeypatch):
    with running_site() as tokens:
        tokens.pages["/token"] = lambda asked: Page(json.dumps({"token": f"for {asked.query}"}).encode())
        serve(manifest_of(layer(LAYER_TYPE + "model", WEIGHTS)), WEIGHTS, CONFIG)
        challenge = f'Bearer realm="{tokens.url}/token",service="registry",scope="repository:team/model:pull"'
        for path, page in list(site.pages.items()):
            if path.startswith("/v2/"):
                site.pages[path] = lambda asked, page=page: (
                    page
                    if asked.headers.get("authorization", "").startswith("Bearer for ")
                    else Page(b"{}", 401, {"WWW-Authenticate": challenge})
                )
        monkeypatch.setenv("AIADMIN_REGISTRY_CREDENTIALS", f"{site.host}=me:secret")
        assert pull_here(f"{site.host}/team/model").weights_digest == digest_of(WEIGHTS)
        assert len(tokens.asked) == 1
        assert tokens.asked[0].query == "service=registry&scope=repository%3Ateam%2Fmodel%3Apull"
        assert tokens.asked[0].headers["authorization"].startswith("Basic ")


def test_a_refusal_says_whose_credentials_are_wanted(site, offer):
    for header in ('Basic realm="x"', "", "Negotiate"):
        site.pages["/v2/team/model/manifests/latest"] = Page(b"", 401, {"WWW-Authenticate": header})
        with pytest.raises(PullFailed, match="wants to know who you are") as caught:
            offer()
        assert f"{site.host}=user:password" in caught.value.hint
    site.pages["/v2/team/model/manifests/latest"] = Page(b"", 401, {"WWW-Authenticate": 'Basic realm="x"'})
    with pytest.raises(PullFailed, match="refuses your credentials"):
        offer(credentials={site.host: ("me", "wrong")})


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (b"<html>", "cannot be read"),
        (b"[]", "cannot be read"),
        (manifest_of(layer(LAYER_TYPE + "license", b"MIT")), "no layer with weights"),
        (manifest_of(layer(LAYER_TYPE + "model", WEIGHTS, path="/etc/passwd")), "names files outside"),
        (manifest_of(layer(LAYER_TYPE + "model", WEIGHTS, name="../../x")), "names files outside"),
        (manifest_of(layer(LAYER_TYPE + "tensor", WEIGHTS)), "tensor by tensor"),
        (
            manifest_of(layer(LAYER_TYPE + "model", WEIGHTS), layer("application/x.new", b"x" * (2 << 20))),
            r"a layer of the kind 'application/x\.new'",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_by_name(site, serve, offer, manifest, says):
    serve(manifest)
    with pytest.raises(PullFailed, match=says):
        offer()


def test_a_blob_that_is_another_is_refused_and_the_next_pull_fetches_it_anew(site, serve, pull_here, store):
    serve(manifest_of(layer(LAYER_TYPE + "model", WEIGHTS)), WEIGHTS, CONFIG)
    right = site.pages[f"/cdn/{digest_of(WEIGHTS)[7:]}"]
    site.pages[f"/cdn/{digest_of(WEIGHTS)[7:]}"] = Page(WEIGHTS[:-1] + b"!")
    with pytest.raises(PullFailed, match="not the file it should be"):
        pull_here(f"{site.host}/team/model")
    assert store.models() == []
    site.pages[f"/cdn/{digest_of(WEIGHTS)[7:]}"] = right
    assert pull_here(f"{site.host}/team/model").weights_digest == digest_of(WEIGHTS)
    site.pages[f"/cdn/{digest_of(CONFIG)[7:]}"] = Page(b"{}")
    with pytest.raises(PullFailed, match="sent something else"):
        pull_here(f"{site.host}/team/model", into=ModelStore(store.root.parent / "other"))


def test_models_packed_for_docker_are_read_too(site, serve, pull_here, store):
    kinds = [("application/vnd.docker.ai.gguf.v3", WEIGHTS), ("application/vnd.docker.ai.license", b"Apache")]
    serve(manifest_of(*(layer(kind, body) for kind, body in kinds), config=b"{}"), WEIGHTS, b"Apache", b"{}")
    model = pull_here(f"{site.host}/team/model")
    assert (model.format, model.weights_digest, model.license) == ("gguf", digest_of(WEIGHTS), "Apache")


def test_a_repaired_pull_reads_what_is_here_again(site, serve, pull_here, store):
    serve(manifest_of(layer(LAYER_TYPE + "model", WEIGHTS)), WEIGHTS, CONFIG)
    model = pull_here(f"{site.host}/team/model")
    blob = store.root / "blobs" / digest_of(WEIGHTS).replace(":", "-")
    blob.write_bytes(WEIGHTS[:-1] + b"!")
    assert not store.intact(model)
    assert pull_here(f"{site.host}/team/model", replace=True).digest == model.digest
    assert blob.read_bytes() == WEIGHTS
    assert store.intact(store.find(model.name), thorough=True)


def test_over_http_only_the_default_registry_may_be_private(site, serve, offer):
    serve(manifest_of(layer(LAYER_TYPE + "model", WEIGHTS)))
    serve(manifest_of(layer(LAYER_TYPE + "model", WEIGHTS)), name="library/model")
    with pytest.raises(PullFailed, match="not public"):
        offer(caller=HTTP)
    assert site.asked == []
    assert offer("model", caller=HTTP, default=site.url).suggested_name == "model:latest"
    assert offer(caller=Caller(over="http", private_addresses=True)).files


def test_where_a_name_lives():
    def at(reference, **how):
        found = locate(reference, "https://default.example", Caller(**how))
        return found.base_url, found.repository, found.tag

    assert at("llama3") == ("https://default.example", "library/llama3", "latest")
    assert at("me/llama3:8b") == ("https://default.example", "me/llama3", "8b")
    assert at("reg.example:444/a/b:c") == ("https://reg.example:444", "a/b", "c")
    assert at("localhost:5000/a/b") == ("http://localhost:5000", "a/b", "latest")
    assert at("https://127.0.0.1:5000/a/b") == ("https://127.0.0.1:5000", "a/b", "latest")
    assert at("reg.example/a/b", insecure=True) == ("http://reg.example", "a/b", "latest")
    with pytest.raises(NotAllowed, match="plain http"):
        at("http://reg.example/a/b")
    with pytest.raises(InvalidName):
        at("a/b/c/d")


def test_challenges_and_answers_are_read_as_they_are_written():
    assert read_challenge('Bearer realm="https://a/t?x=1",service="s",scope="repository:a/b:pull,push"') == Challenge(
        "bearer", "https://a/t?x=1", "s", "repository:a/b:pull,push"
    )
    assert Challenge("bearer", "https://a/t?x=1", "s").token_url == "https://a/t?x=1&service=s"
    assert Challenge("bearer", "https://a/t").token_url == "https://a/t"
    assert read_challenge("").scheme == ""
    assert read_challenge('Basic realm="a, b"').realm == "a, b"
    assert read_token(b'{"access_token": "t"}') == "t"
    for body in (b"{}", b"[", b'{"token": 1}'):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
            read_token(body)
    assert words_of(b'{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}') == " (no; X)"
    assert words_of(b"<html>") == ""


def test_what_is_not_there_names_the_registry(site, offer):
    with pytest.raises(ModelNotFound) as caught:
        offer()
    assert re.search(r"The registry 127\.0\.0\.1:\d+ has no 'team/model:latest'", caught.value.hint)
