"""What a name may stand for: patterns, fallbacks, and what is refused when an alias is made."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.errors import BadRequest, ModelNotFound
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import FetchedFile, FetchedModel
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.testing.echo import EchoBackend
from aiadmin_server.routing.aliasing import known_backend, set_alias
from aiadmin_server.routing.resolver import Resolver
from aiadmin_server.routing.target import NothingLeft
from aiadmin_server.settings import Settings
from aiadmin_server.store.aliases import Alias, Aliases
from aiadmin_server.store.store import ModelStore

Add = Callable[[str], None]


class Parrots(EchoBackend):
    name = "echo"

    def models(self) -> Sequence[ModelSpec]:
        return [ModelSpec(name="parrot:latest", digest="", format="other", files=())]


class Plugin:
    @hookimpl
    def aiadmin_backends(self) -> Sequence[Any]:
        return [Parrots()]


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    store = ModelStore(tmp_path / "models")
    plugins = load_plugins(builtin=[("test", Plugin())], only=[])
    return Resolver(store, Aliases(store.aliases_path), plugins, Settings())


@pytest.fixture
def add(resolver: Resolver, tmp_path: Path) -> Add:
    def make(name: str) -> None:
        path = tmp_path / "file.gguf"
        path.write_bytes(name.encode())
        fetched = FetchedModel(
            files=(FetchedFile(path=path),), format="gguf", system="Own.", parameters={"stop": ["own"], "top_k": 5}
        )
        resolver.store.add(name, fetched)

    return make


def models(resolver: Resolver, name: str) -> list[str]:
    """What is asked for `name`, one after the other; "-" is not there."""
    found: list[str] = []
    while True:
        try:
            found.append(resolver.resolve(name, len(found)).resolved)
        except ModelNotFound:
            found.append("-")
        except NothingLeft:
            return found


def test_an_exact_name_goes_before_a_pattern_and_the_longer_pattern_before_others(resolver: Resolver, add: Add):
    for name in ("a", "b", "c", "gpt-model"):
        add(name)
    set_alias(resolver, "gpt-*", Alias(target="a"))
    set_alias(resolver, "gpt-4*", Alias(target="b"))
    set_alias(resolver, "gpt-4o", Alias(target="c"))
    assert models(resolver, "gpt-3.5-turbo") == ["a:latest"]
    assert models(resolver, "GPT-4-turbo") == ["b:latest"]
    assert models(resolver, "gpt-4o") == ["c:latest"]
    assert models(resolver, "gpt-model") == ["gpt-model:latest"], "a model goes before everything"
    assert models(resolver, "gpt-*") == ["a:latest"], "a pattern can be asked for by itself"
    assert models(resolver, "claude") == ["-"]
    assert resolver.resolve("gpt-3").requested == "gpt-3"


def test_a_pattern_for_everything_leaves_models_and_backends_alone(resolver: Resolver, add: Add):
    add("a")
    add("b")
    set_alias(resolver, "*", Alias(target="a"))
    assert models(resolver, "b") == ["b:latest"]
    assert models(resolver, "parrot") == models(resolver, "echo/parrot") == ["parrot:latest"]
    assert models(resolver, "whatever/it:is") == ["a:latest"]


def test_fallbacks_come_in_order_also_those_of_the_aliases_on_the_way(resolver: Resolver, add: Add):
    for name in ("a", "b", "c", "d"):
        add(name)
    set_alias(resolver, "inner", Alias(target="a", fallbacks=("b",)))
    set_alias(resolver, "outer", Alias(target="inner", fallbacks=("c", "echo/parrot")))
    assert models(resolver, "outer") == ["a:latest", "b:latest", "c:latest", "parrot:latest"]
    resolver.store.remove("a")
    assert models(resolver, "outer") == ["-", "b:latest", "c:latest", "parrot:latest"]
    explained = resolver.explain("outer")
    assert explained.resolved == "b:latest"
    assert explained.fallbacks == ("c:latest", "parrot:latest")
    assert "'inner' falls back on 'b'." in explained.steps
    assert [target.resolved for target in resolver.find("outer")] == ["b:latest", "c:latest", "parrot:latest"]


def test_an_aliass_settings_hold_for_its_fallbacks_too(resolver: Resolver, add: Add):
    """And leave the model as it is opened: the name shares its engine with the model's own."""
    add("a")
    add("b")
    parameters = {"temperature": 0.1, "stop": ["END"]}
    set_alias(resolver, "x", Alias(target="a", fallbacks=("b",), system="Be brief.", parameters=parameters))
    for passed, name in enumerate(("a", "b")):
        target = resolver.resolve("x", passed)
        assert (target.system, target.stop) == ("Be brief.", ("END",))
        assert target.defaults == {"temperature": 0.1, "top_k": 5, "stop": ["END"]}
        assert target.spec == resolver.resolve(name).spec
    own = resolver.resolve("a")
    assert (own.system, own.stop) == (None, ())


def test_what_leads_back_to_itself_is_refused_over_any_way(resolver: Resolver, add: Add):
    add("m")
    set_alias(resolver, "c", Alias(target="m"))
    set_alias(resolver, "b", Alias(target="c"))
    set_alias(resolver, "x*", Alias(target="b"))
    for alias in (Alias(target="c"), Alias(target="b"), Alias(target="m", fallbacks=("b",)), Alias(target="xy")):
        with pytest.raises(BadRequest, match="leads back to itself: c ->") as caught:
            set_alias(resolver, "c", alias)
        assert "aiadmin alias set" in caught.value.hint
    assert resolver.aliases.get("c") == Alias(target="m")
    with pytest.raises(BadRequest, match="leads back"):
        set_alias(resolver, "a*", Alias(target="abc"), missing_ok=True)


def test_a_fallback_that_leads_back_in_a_file_somebody_wrote_is_passed_over(resolver: Resolver, add: Add):
    add("m")
    set_alias(resolver, "a", Alias(target="m"))
    resolver.aliases.path.write_text('{"a": {"target": "m", "fallbacks": ["b"]}, "b": {"target": "a"}}')
    assert models(resolver, "a") == ["m:latest"]


def test_an_alias_of_nothing_is_refused_with_the_nearest_name(resolver: Resolver, add: Add):
    add("smollm2")
    for alias in (Alias(target="smolm2"), Alias(target="smollm2", fallbacks=("smolm2",))):
        with pytest.raises(BadRequest, match="There is no model 'smolm2'") as caught:
            set_alias(resolver, "x", alias)
        assert "Did you mean 'smollm2'?" in caught.value.hint
        assert "--missing-ok" in caught.value.hint
    assert resolver.aliases.all() == {}
    set_alias(resolver, "x", Alias(target="smolm2"), missing_ok=True)
    assert models(resolver, "x") == ["-"]
    with pytest.raises(BadRequest, match="no model 'x'"):
        set_alias(resolver, "y", Alias(target="x"))


def test_an_alias_that_a_model_would_hide_is_refused(resolver: Resolver, add: Add):
    add("m")
    for name, remedy in (("M:latest", "aiadmin rm m:latest"), ("parrot", "Choose another name")):
        with pytest.raises(BadRequest, match="goes before an alias of that name") as caught:
            set_alias(resolver, name, Alias(target="m"))
        assert remedy in caught.value.hint
    assert resolver.aliases.all() == {}


def test_many_aliases_in_a_row_end_in_a_sentence(resolver: Resolver, add: Add):
    entries = ", ".join(f'"a{n}": {{"target": "a{n + 1}"}}' for n in range(3000))
    resolver.aliases.path.parent.mkdir(parents=True)
    resolver.aliases.path.write_text(f"{{{entries}}}")
    with pytest.raises(BadRequest, match="through more than"):
        resolver.resolve("a0")


def test_a_backend_is_known_by_its_name_in_any_case(resolver: Resolver):
    assert known_backend(resolver, "ECHO") == "echo"
    with pytest.raises(BadRequest, match="no backend 'eco'") as caught:
        known_backend(resolver, "eco")
    assert "Did you mean 'echo'?" in caught.value.hint
