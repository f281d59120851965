"""Plugins found, chosen, called, and left out with a reason when they are broken."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import Selection, load_plugins


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a plugin: a module with this source, named by an entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("AIADMIN_PLUGINS", raising=False)
    made: list[str] = []

    def make(name: str, source: str) -> None:
        (tmp_path / f"plugin_{name}.py").write_text(f"from aiadmin_core.hookspecs import hookimpl\n{source}")
        info = tmp_path / f"aiadmin_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aiadmin-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[aiadmin]\n{name} = plugin_{name}\n")
        made.append(f"plugin_{name}")

    yield make
    for module in made:
        sys.modules.pop(module, None)


def offering(*items):
    """Source of a plugin that offers sources of these names."""
    return f"@hookimpl\ndef aiadmin_sources():\n    return {list(items)!r}\n"


def backend(name, label=""):
    return SimpleNamespace(name=name, label=label)


def module(**hooks):
    """A plugin without a file."""
    return SimpleNamespace(**{name: hookimpl(hook) for name, hook in hooks.items()})


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("", ["a", "b", "c"]),
        ("c,a", ["c", "a"]),
        ("-b", ["a", "c"]),
        (" c , -b, a ", ["c", "a"]),
        ("a,-a", []),
        ("d", []),
    ],
)
def test_the_variable_chooses_and_orders(text, order):
    assert Selection.parse(text).order(["c", "b", "a"]) == order


def test_an_installed_plugin_is_called_and_described(install):
    install("one", offering("x", "y"))
    plugins = load_plugins(only=["one"])
    assert plugins.collect("aiadmin_sources") == ["x", "y"]
    (plugin,) = plugins.installed
    assert (plugin.name, plugin.distribution, plugin.version) == ("one", "aiadmin-one", "1.5")
    assert plugin.hooks == ("aiadmin_sources",)


def test_builtin_plugins_come_first_and_the_first_to_offer_a_name_has_it(install):
    install("late", "import types\n@hookimpl\ndef aiadmin_backends():\n    return [types.SimpleNamespace(name='x')]\n")
    early = module(aiadmin_backends=lambda: [backend("x", "early"), backend("y")])
    plugins = load_plugins(builtin=[("early", early)], only=["late"])
    assert plugins.backends()["x"].label == "early"
    assert {name: plugin for name, (plugin, _) in plugins.offers().items()} == {"x": "early", "y": "early"}


def test_the_environment_chooses_which_are_loaded(install, monkeypatch):
    for name in ("one", "two", "three"):
        install(name, offering(name))
    monkeypatch.setenv("AIADMIN_PLUGINS", "two,one,nonesuch")
    plugins = load_plugins()
    assert plugins.collect("aiadmin_sources") == ["two", "one"]
    assert [(plugin.name, plugin.error) for plugin in plugins.broken] == [
        ("nonesuch", "named in AIADMIN_PLUGINS and not installed")
    ]


def test_a_runner_loads_what_it_is_told_whatever_the_environment_says(install, monkeypatch):
    install("one", offering("x"))
    monkeypatch.setenv("AIADMIN_PLUGINS", "-one")
    assert load_plugins(only=["one"]).collect("aiadmin_sources") == ["x"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('no library')", "cannot be imported: RuntimeError: no library"),
        ("raise SystemExit(1)", "cannot be imported: SystemExit: 1"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("aiadmin_api_version = 99", "written for plugin API 99, this is 1: upgrade aiadmin-core"),
        ("aiadmin_api_version = 0", "written for plugin API 0, this is 1: upgrade the plugin"),
        ("@hookimpl\ndef aiadmin_of_the_future():\n    return []", "hooks that do not exist: aiadmin_of_the_future"),
        ("@hookimpl\ndef aiadmin_sources(unknown_argument):\n    return []", "cannot be registered: PluginValidation"),
    ],
)
def test_a_broken_plugin_is_named_and_does_not_stop_the_others(install, source, error):
    install("broken", source)
    install("sound", offering("x"))
    plugins = load_plugins(only=["broken", "sound"])
    assert plugins.collect("aiadmin_sources") == ["x"]
    (broken,) = plugins.broken
    assert broken.name == "broken"
    assert error in broken.error


@pytest.mark.parametrize("answer", ["1 / 0", "None", "5"])
def test_a_plugin_whose_hook_fails_is_left_out_from_then_on(install, answer):
    install("broken", f"@hookimpl\ndef aiadmin_sources():\n    return {answer}\n")
    install("sound", offering("x"))
    plugins = load_plugins(only=["broken", "sound"])
    assert plugins.collect("aiadmin_sources") == ["x"]
    assert plugins.collect("aiadmin_sources") == ["x"]
    (broken,) = plugins.broken
    assert broken.error.startswith("aiadmin_sources raised ")


def test_mappings_are_merged_the_first_plugin_wins():
    first = module(aiadmin_cli_commands=lambda: {"a": "first:a"})
    second = module(aiadmin_cli_commands=lambda: {"a": "second:a", "b": "second:b"})
    plugins = load_plugins(builtin=[("first", first), ("second", second)], only=[])
    assert plugins.merge("aiadmin_cli_commands") == {"a": "first:a", "b": "second:b"}


def test_a_first_result_hook_asks_the_first_plugin_first(install):
    for name in ("early", "late"):
        install(name, f"@hookimpl\ndef aiadmin_authenticate(headers, path):\n    return {name!r}\n")
    for first, second in (("early", "late"), ("late", "early")):
        plugins = load_plugins(only=[first, second])
        assert plugins.hook.aiadmin_authenticate(headers={}, path="/") == first
