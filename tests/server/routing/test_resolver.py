"""From a name to the model behind it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.errors import BadRequest, ModelNotFound, StoreError
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import CatalogueEntry, FetchedFile, FetchedModel
from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_core.testing.echo import EchoBackend
from aiadmin_server import catalogue
from aiadmin_server.durations import FOREVER
from aiadmin_server.routing.choice import same_files
from aiadmin_server.routing.resolver import Resolver, engine_options
from aiadmin_server.settings import Settings
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore


class Backend(EchoBackend):
    """As far as the resolver looks at it."""

    def __init__(self, name: str, *models: str) -> None:
        self.name = name
        if models:
            self.models = lambda: [spec(name, model) for model in models]


def spec(backend: str, model: str) -> ModelSpec:
    return ModelSpec(name=f"{model}:latest", digest=f"sha256:{backend}-{model}", format="other", files=())


class Plugin:
    @hookimpl
    def aiadmin_backends(self) -> Sequence[Any]:
        return [Backend("llamacpp"), Backend("echo", "parrot"), Backend("remote", "parrot", "far")]

    @hookimpl
    def aiadmin_catalogue(self) -> Sequence[CatalogueEntry]:
        return [CatalogueEntry(name="tiny:1b", reference="x:y", digest="", size=1, summary="", license="")]


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    store = ModelStore(tmp_path / "models")
    plugins = load_plugins(builtin=[("catalogue", catalogue), ("test", Plugin())], only=[])
    return Resolver(store, Aliases(store.aliases_path), plugins, Settings(n_ctx=2048, n_parallel=2, prefix_disk_mib=0))


@pytest.fixture
def add(resolver: Resolver, tmp_path: Path) -> Callable[..., None]:
    def make(name: str, **parameters: Any) -> None:
        path = tmp_path / "file.gguf"
        path.write_bytes(name.encode())
        files = (FetchedFile(path=path),)
        resolver.store.add(name, FetchedModel(files=files, format="gguf", parameters=parameters))
        path.unlink()

    return make


def test_a_local_name_in_any_case_with_or_without_tag(resolver: Resolver, add: Callable[..., None]):
    add("SmolLM2")
    for name in ("smollm2", "SMOLLM2:latest", "library/smollm2"):
        target = resolver.resolve(name)
        assert (target.requested, target.resolved, target.backend) == (name, "SmolLM2:latest", None)
        assert target.spec.files[0].size == 7
        assert target.keep_alive_s is None


def test_a_local_name_goes_before_an_alias(resolver: Resolver, add: Callable[..., None]):
    add("a")
    add("b")
    resolver.aliases.set("a", Alias(target="b"))
    assert resolver.resolve("a").resolved == "a:latest"


def test_an_alias_follows_its_target_and_brings_its_settings(resolver: Resolver, add: Callable[..., None]):
    add("smollm2", temperature=0.5, stop=["x"], num_ctx=1024)
    alias = Alias(target="smollm2", backend="llamacpp", keep_alive="10m", parameters={"num_ctx": 512, "temperature": 0})
    resolver.aliases.set("gpt-4", alias)
    target = resolver.resolve("GPT-4")
    assert (target.resolved, target.backend, target.keep_alive_s) == ("smollm2:latest", "llamacpp", 600)
    assert target.options == EngineOptions(n_ctx=512, n_parallel=2)
    assert target.defaults == {"temperature": 0, "stop": ["x"], "num_ctx": 512}
    assert target.spec.parameters == {"temperature": 0.5, "stop": ["x"], "num_ctx": 1024}, (
        "it is opened as the model is"
    )


def test_in_a_chain_of_aliases_the_first_ones_settings_count(resolver: Resolver, add: Callable[..., None]):
    add("m")
    resolver.aliases.set("inner", Alias(target="m", keep_alive=-1, parameters={"num_ctx": 100, "num_parallel": 8}))
    resolver.aliases.set("outer", Alias(target="inner", parameters={"num_ctx": 200}))
    target = resolver.resolve("outer")
    assert target.options == EngineOptions(n_ctx=200, n_parallel=8)
    assert target.keep_alive_s == FOREVER


def test_a_loop_in_a_file_somebody_wrote_is_refused(resolver: Resolver):
    resolver.aliases.set("seed", Alias(target="x"))
    resolver.aliases.path.write_text('{"a": {"target": "B"}, "b": {"target": "llamacpp/a"}}')
    for name in ("a", "b"):
        with pytest.raises(BadRequest, match="back to itself"):
            resolver.resolve(name)


def test_a_backends_name_in_front_picks_it(resolver: Resolver, add: Callable[..., None]):
    add("smollm2")
    assert resolver.resolve("LlamaCpp/smollm2").backend == "llamacpp"
    resolver.aliases.set("gpt-4", Alias(target="llamacpp/smollm2"))
    assert resolver.resolve("gpt-4").backend == "llamacpp"
    assert resolver.resolve("llamacpp/gpt-4").resolved == "smollm2:latest"


def test_a_local_name_that_looks_like_a_prefix_is_a_name(resolver: Resolver, add: Callable[..., None]):
    add("smollm2")
    add("llamacpp/smollm2")
    target = resolver.resolve("llamacpp/smollm2")
    assert (target.resolved, target.backend) == ("llamacpp/smollm2:latest", None)


def test_models_that_a_backend_offers_need_no_files(resolver: Resolver, add: Callable[..., None]):
    assert [model.name for model in resolver.offered()] == ["parrot:latest", "parrot:latest", "far:latest"]
    assert resolver.resolve("far").backend == "remote"
    assert resolver.resolve("parrot").backend == "echo"
    assert resolver.resolve("remote/parrot").spec.digest == "sha256:remote-parrot"
    add("parrot")
    assert resolver.resolve("parrot").backend is None, "the store's goes first"
    assert resolver.resolve("remote/parrot").spec.digest == "sha256:remote-parrot"


def test_what_only_the_catalogue_has_is_not_found_and_can_be_pulled(resolver: Resolver):
    for name, pulled in (("SmolLM2", "smollm2"), ("tiny:1B", "tiny:1b"), ("llamacpp/smollm2", "smollm2")):
        with pytest.raises(ModelNotFound, match=f"'{name}' was not found. Run `aiadmin pull {pulled}`"):
            resolver.resolve(name)


def test_an_alias_of_what_is_not_here_says_so(resolver: Resolver):
    resolver.aliases.set("gpt-4", Alias(target="smollm2"))
    with pytest.raises(ModelNotFound, match=r"alias of .smollm2., which is not here\. Run `aiadmin pull smollm2`"):
        resolver.resolve("gpt-4")


def test_a_near_name_is_suggested(resolver: Resolver, add: Callable[..., None]):
    add("Qwen3")
    resolver.aliases.set("gpt-3.5-turbo", Alias(target="qwen3"))
    for wrong, near in (
        ("qwen-3", "Qwen3"),
        ("gpt-3.5-trubo", "gpt-3.5-turbo"),
        ("smolm2", "smollm2"),
        ("parot", "parrot"),
    ):
        with pytest.raises(ModelNotFound, match=f"Did you mean '{near}'"):
            resolver.resolve(wrong)


@pytest.mark.parametrize(
    "name", ["zzzz", "", "/", "llamacpp/", "../../etc/passwd", "a b", "é", "x" * 5000, "a/b/c/d/e"]
)
def test_anything_else_is_not_found(resolver: Resolver, name: str):
    with pytest.raises(ModelNotFound) as caught:
        resolver.resolve(name)
    assert caught.value.status == 404
    assert caught.value.hint


def test_a_model_whose_file_is_gone_says_so(resolver: Resolver, add: Callable[..., None]):
    add("m")
    Path(resolver.resolve("m").spec.files[0].path).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        resolver.resolve("m")


def test_the_way_can_be_explained(resolver: Resolver, add: Callable[..., None]):
    add("smollm2")
    resolver.aliases.set("gpt-4", Alias(target="llamacpp/SmolLM2"))
    explained = resolver.explain("gpt-4")
    assert (explained.resolved, explained.backend) == ("smollm2:latest", "llamacpp")
    assert explained.steps == (
        "'gpt-4' is no model in the store.",
        "'gpt-4' is an alias of 'llamacpp/SmolLM2'.",
        "'llamacpp/SmolLM2' is no model in the store.",
        "'llamacpp/' asks for the backend llamacpp.",
        "'SmolLM2' is a model in the store.",
    )
    resolver.store.remove("smollm2")
    with pytest.raises(ModelNotFound, match="aiadmin pull smollm2"):
        resolver.explain("gpt-4")


def test_options_of_a_model_count_before_the_settings_and_nonsense_is_left_out():
    settings = Settings(n_ctx=2048, prefix_disk_mib=0)
    assert engine_options({"num_ctx": 4096, "num_gpu": 0, "num_thread": 2, "num_batch": 64}, settings) == (
        EngineOptions(n_ctx=4096, n_gpu_layers=0, n_threads=2, n_batch=64)
    )
    assert engine_options({"num_ctx": "many", "num_gpu": -1, "num_thread": 0, "num_batch": True}, settings) == (
        EngineOptions(n_ctx=2048)
    )


def test_a_draft_model_s_files_come_with_the_model_that_it_guesses_for(resolver: Resolver, add: Callable[..., None]):
    add("small")
    add("large", draft_model="small")
    add("alone")

    target = resolver.resolve("large")

    small = resolver.resolve("small").spec.files
    assert [file.path for file in target.spec.files if file.role == "draft"] == [file.path for file in small]
    assert target.options.draft_model == "small"
    assert [file.role for file in resolver.resolve("alone").spec.files] == ["model"]
    assert same_files(target, resolver.find("large")[0]), "whoever unloads it need not know who guessed"


def test_a_draft_model_that_is_not_here_or_of_other_files_is_named(resolver: Resolver, add: Callable[..., None]):
    add("large", draft_model="small")
    with pytest.raises(BadRequest, match=r"'draft_model': 'small' is no model here") as caught:
        resolver.resolve("large")
    assert caught.value.param == "draft_model"
    assert "aiadmin pull small" in caught.value.hint
    assert resolver.explain("large").defaults["draft_model"].value == "small", "it can be looked at all the same"
    assert resolver.find("large")
    folder = FetchedModel(files=(FetchedFile(path=_file(resolver)),), format="safetensors", parameters={})
    resolver.store.add("small", folder)
    with pytest.raises(BadRequest, match=r"'small:latest' \(safetensors\) cannot guess for 'large:latest' \(gguf\)"):
        resolver.resolve("large")


def _file(resolver: Resolver) -> Path:
    path = resolver.store.root.parent / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_model_in_the_servers_own_process_has_one_engine(tmp_path: Path):
    for in_process, n_replicas in ((False, 3), (True, None)):
        settings = Settings(state=tmp_path, in_process=in_process, n_replicas=2)
        assert engine_options({"replicas": 3}, settings).n_replicas == n_replicas


def test_a_backend_that_cannot_say_what_it_offers_stops_nobody(tmp_path: Path):
    class Plugin:
        @hookimpl
        def aiadmin_backends(self) -> Sequence[Any]:
            broken, well = Backend("broken", "x"), Backend("echo", "parrot")
            broken.models = lambda: 1 / 0
            return [broken, well]

    store = ModelStore(tmp_path)
    plugins = load_plugins(builtin=[("test", Plugin())], only=[])
    resolver = Resolver(store, Aliases(store.aliases_path), plugins, Settings())
    assert resolver.resolve("parrot").backend == "echo"


def test_a_damaged_alias_file_is_said_and_costs_no_model(resolver: Resolver, add: Callable[..., None]):
    """An alias in it is not one that does not exist."""
    add("m")
    resolver.aliases.path.write_text("{")
    assert resolver.resolve("m").resolved == "m:latest"
    assert resolver.resolve("parrot").backend == "echo"
    with pytest.raises(StoreError, match=r"aliases in .* cannot be read"):
        resolver.resolve("gpt-4")


def test_an_alias_with_a_keep_alive_that_means_nothing_is_served(resolver: Resolver, add: Callable[..., None]):
    add("m")
    resolver.aliases.path.write_text('{"gpt-4": {"target": "m", "keep_alive": "soon", "n_ctx": 64}}')
    target = resolver.resolve("gpt-4")
    assert (target.keep_alive_s, target.options.n_ctx) == (None, 64)


def test_a_plugin_that_came_after_the_server_started_is_named(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it offers is listed by every command that starts now, and found by no server that runs."""
    monkeypatch.delenv("AIADMIN_PLUGINS", raising=False)
    assert resolver.plugins.installed_since() == []
    resolver.plugins.found -= {"openai"}
    with pytest.raises(ModelNotFound) as caught:
        resolver.resolve("nonesuch")
    assert "'openai' was installed after this server had started: start it again" in caught.value.hint
