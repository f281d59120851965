"""Plugins found, chosen, called, and named with what is wrong with them."""

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from aiadmin_core.dialects.dialect import Dialect
from aiadmin_core.errors import PluginError
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.observe import DoctorCheck
from aiadmin_core.plugins import Selection, load_plugins
from aiadmin_core.sources import CatalogueEntry
from aiadmin_core.testing.echo import EchoBackend


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a plugin: a module with this source, named by an entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("AIADMIN_PLUGINS", raising=False)
    made: list[str] = []

    def make(name: str, source: str, *, more_entry_points: str = "") -> None:
        (tmp_path / f"plugin_{name}.py").write_text(f"from aiadmin_core.hookspecs import hookimpl\n{source}")
        info = tmp_path / f"aiadmin_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aiadmin-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[aiadmin]\n{name} = plugin_{name}\n{more_entry_points}")
        made.append(f"plugin_{name}")

    yield make
    for module in made:
        sys.modules.pop(module, None)


SHELF = """
class Shelf:
    def __init__(self, scheme):
        self.scheme = scheme

    def claims(self, reference):
        return False

    def fetch(self, reference, *, workdir, progress, expected_digest=""):
        raise AssertionError
"""


def offering(*schemes):
    """Source of a plugin that offers sources of these schemes."""
    return f"{SHELF}\n@hookimpl\ndef aiadmin_sources():\n    return [Shelf(scheme) for scheme in {list(schemes)!r}]\n"


def schemes(plugins):
    return [source.scheme for source in plugins.collect("aiadmin_sources")]


def backend(name, label=""):
    made = EchoBackend()
    made.name, made.label = name, label
    return made


ECHO = "from aiadmin_core.testing.echo import EchoBackend as Echo\n"


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
    assert schemes(plugins) == ["x", "y"]
    (plugin,) = plugins.installed
    assert (plugin.name, plugin.distribution, plugin.version) == ("one", "aiadmin-one", "1.5")
    assert plugin.hooks == ("aiadmin_sources",)


def test_builtin_plugins_come_first_and_the_first_to_offer_a_name_has_it(install):
    install("late", f"{ECHO}@hookimpl\ndef aiadmin_backends():\n    return [Echo()]\n")
    early = module(aiadmin_backends=lambda: [backend("echo", "early"), backend("y")])
    plugins = load_plugins(builtin=[("early", early)], only=["late"])
    assert plugins.backends()["echo"].label == "early"
    assert {name: plugin for name, (plugin, _) in plugins.offers().items()} == {"echo": "early", "y": "early"}


def test_the_environment_chooses_which_are_loaded(install, monkeypatch):
    for name in ("one", "two", "three"):
        install(name, offering(name))
    monkeypatch.setenv("AIADMIN_PLUGINS", "two,one,nonesuch")
    plugins = load_plugins()
    assert schemes(plugins) == ["two", "one"]
    assert [(plugin.name, plugin.error) for plugin in plugins.broken] == [
        ("nonesuch", "named in AIADMIN_PLUGINS and not installed")
    ]


def test_a_runner_loads_what_it_is_told_whatever_the_environment_says(install, monkeypatch):
    install("one", offering("x"))
    monkeypatch.setenv("AIADMIN_PLUGINS", "-one")
    assert schemes(load_plugins(only=["one"])) == ["x"]


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
    assert schemes(plugins) == ["x"]
    (broken,) = plugins.broken
    assert broken.name == "broken"
    assert error in broken.error


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("1 / 0", "aiadmin_sources raised ZeroDivisionError: division by zero"),
        ("exit(0)", "aiadmin_sources raised SystemExit: 0"),
        ("None", "aiadmin_sources raised TypeError: 'NoneType' object is not iterable"),
        ("'pypi'", "aiadmin_sources raised TypeError: str is no sequence"),
        ("{'pypi': 1}", "aiadmin_sources raised TypeError: dict is no sequence"),
    ],
)
def test_a_hook_that_fails_costs_its_own_call_and_is_named(install, answer, fault, caplog):
    install("broken", f"@hookimpl\ndef aiadmin_sources():\n    return {answer}\n")
    install("sound", offering("x"))
    plugins = load_plugins(only=["broken", "sound"])
    with caplog.at_level(logging.WARNING):
        assert schemes(plugins) == ["x"]
        assert schemes(plugins) == ["x"]
    (broken,) = plugins.broken
    assert (broken.error, broken.faults) == ("", (fault,))
    assert caplog.messages == [f"The plugin broken: {fault}."]  # once


def test_a_plugin_stays_at_its_post_when_another_of_its_hooks_fails():
    """It may say who comes in: what its catalogue does must not open the door."""

    def failing():
        raise RuntimeError("no catalogue today")

    keys = module(aiadmin_catalogue=failing, aiadmin_authenticate=lambda headers, path: "alice")
    plugins = load_plugins(builtin=[("keys", keys)], only=[])
    assert plugins.collect("aiadmin_catalogue") == []
    assert plugins.hook.aiadmin_authenticate(headers={}, path="/") == "alice"
    plugins.require_guards()  # it is in use


def test_a_fault_is_forgotten_when_the_hook_works_again():
    answers = iter([None, [], [5]])
    plugins = load_plugins(builtin=[("moody", module(aiadmin_sources=lambda: next(answers)))], only=[])
    seen = []
    for _ in range(3):
        plugins.collect("aiadmin_sources")
        seen.append(plugins.installed[0].trouble)
    assert seen == [
        "aiadmin_sources raised TypeError: 'NoneType' object is not iterable",
        "",
        "aiadmin_sources gave 5, which is no Source: it has no 'scheme'",
    ]


class NoHealth(EchoBackend):
    health = None


class Misnamed(EchoBackend):
    name = 5


class Marked(Dialect):
    name, markers = "x", "<x>"


class Nameless(EchoBackend):
    name = ""


ENTRY = {"name": "m", "reference": "r", "digest": "d", "size": 1, "summary": "s", "license": "l"}


@pytest.mark.parametrize(
    ("hook", "given", "fault"),
    [
        ("aiadmin_backends", [SimpleNamespace()], "a SimpleNamespace, which is no Backend: it has no 'name'"),
        ("aiadmin_backends", [EchoBackend], "the class EchoBackend, not an instance of it"),
        ("aiadmin_backends", [None], "None, which is no Backend: it has no 'name'"),
        ("aiadmin_backends", [NoHealth()], "a NoHealth, which is no Backend: its 'health' is None and cannot be"),
        ("aiadmin_backends", [Misnamed()], "a Misnamed, which is no Backend: its 'name' is 5: Expected `str`"),
        ("aiadmin_backends", [Nameless()], "a Nameless, which is no Backend: its 'name' is empty"),
        ("aiadmin_sources", ["pypi"], "'pypi', which is no Source: it has no 'scheme'"),
        ("aiadmin_catalogue", [ENTRY], "a dict, which is no CatalogueEntry"),
        ("aiadmin_catalogue", [CatalogueEntry(**{**ENTRY, "size": "1"})], "a CatalogueEntry whose 'size' is '1'"),
        ("aiadmin_dialects", [object()], "an object, which is no Dialect: it has no 'name'"),
        ("aiadmin_dialects", [Marked()], "its 'markers' is '<x>': Expected `array`"),
        ("aiadmin_http_middleware", ["gzip"], "'gzip', which cannot be called with an ASGI app"),
        ("aiadmin_doctor_checks", [DoctorCheck(name="x", run="y")], "a DoctorCheck whose 'run' is 'y' and cannot be"),
        ("aiadmin_cli_commands", {"hi": print}, "for the verb 'hi', which is not written \"package.module:attribute\""),
        ("aiadmin_cli_commands", {"hi there": "a:b"}, "'hi there', which is no verb"),
    ],
)
def test_a_value_that_is_no_such_thing_is_left_out_and_named(hook, given, fault):
    plugins = load_plugins(builtin=[("wrong", module(**{hook: lambda: given}))], only=[])
    assert plugins.collect(hook) == []
    (wrong,) = plugins.broken
    assert wrong.trouble.startswith(f"{hook} gave ")
    assert fault in wrong.trouble


def test_what_is_right_beside_what_is_wrong_is_used():
    plugins = load_plugins(builtin=[("mixed", module(aiadmin_backends=lambda: [EchoBackend(), 5]))], only=[])
    assert list(plugins.backends()) == ["echo"]
    assert plugins.broken


def test_examining_calls_whatever_only_offers_things():
    wrong = module(aiadmin_backends=lambda: 1, aiadmin_catalogue=lambda: 2, aiadmin_cli_commands=lambda: 3)
    plugins = load_plugins(builtin=[("wrong", wrong)], only=[])
    plugins.examine()
    assert [fault.partition(" ")[0] for fault in plugins.installed[0].faults] == [
        "aiadmin_backends",
        "aiadmin_catalogue",
        "aiadmin_cli_commands",
    ]


GUARD = "@hookimpl\ndef aiadmin_authenticate(headers, path):\n    return 'alice'\n"


@pytest.mark.parametrize(
    "source",
    [
        f"{GUARD}import library_that_is_not_there",
        f"{GUARD}def broken(:",
        f"{GUARD}aiadmin_api_version = 99",
        f"{GUARD}@hookimpl\ndef aiadmin_of_the_future():\n    return []",
        "@hookimpl\ndef aiadmin_authenticate(password):\n    return 'alice'\n",
        "@hookimpl\nasync def aiadmin_authenticate(headers, path):\n    return 'alice'\n",
        "@hookimpl(specname='aiadmin_authenticate')\ndef who(headers, path):\n    return 'alice'\n",
        "from nowhere import aiadmin_http_middleware",
    ],
)
def test_a_guard_that_is_not_in_use_is_missed(install, source):
    install("keys", source)
    plugins = load_plugins(only=["keys"])
    with pytest.raises(PluginError, match="The plugin 'keys' may guard this server and is not in use: "):
        plugins.require_guards()


def test_a_plugin_that_says_it_guards_is_missed_whatever_is_in_it(install):
    install("keys", "import library_that_is_not_there", more_entry_points="[aiadmin.guards]\nkeys = plugin_keys\n")
    with pytest.raises(PluginError, match="keys"):
        load_plugins(only=["keys"]).require_guards()


@pytest.mark.parametrize("source", [None, "import library_that_is_not_there"])
def test_a_plugin_that_was_asked_for_by_name_is_missed(install, monkeypatch, source):
    """`AIADMIN_PLUGINS=kyes,llamacpp` must not serve without keys."""
    if source:
        install("kyes", source)
    monkeypatch.setenv("AIADMIN_PLUGINS", "kyes")
    with pytest.raises(PluginError, match="kyes"):
        load_plugins().require_guards()


def test_other_broken_plugins_are_not_missed(install):
    install("broken", "import library_that_is_not_there")
    load_plugins(only=["broken"]).require_guards()


def test_two_packages_with_a_plugin_of_one_name_are_told_apart_by_nobody(install, tmp_path):
    """One of them may be the guard."""
    install("keys", GUARD)
    other = tmp_path / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[aiadmin]\nkeys = sched\n")
    plugins = load_plugins(only=["keys"])
    assert plugins.installed[0].error == "aiadmin-keys and other both have a plugin of this name: uninstall one"
    with pytest.raises(PluginError):
        plugins.require_guards()


class Everything:
    """Not looked at: what counts is who offers dialects."""


def test_runners_are_told_which_plugins_have_dialects(install):
    install("talks", "@hookimpl\ndef aiadmin_dialects():\n    return []\n")
    install("thinks", "@hookimpl\ndef aiadmin_dialects():\n    return []\n")
    install("other", offering("x"))
    install("broken", "@hookimpl\ndef aiadmin_dialects():\n    return []\nimport nothing_of_that_name")
    ours = module(aiadmin_dialects=lambda: [Everything])
    plugins = load_plugins(builtin=[("ours", ours)], only=["thinks", "other", "broken", "talks"])
    assert plugins.with_dialects() == ("thinks", "talks")


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
