"""The command itself: verbs, misuse, errors, and what it imports before it has to."""

import os
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace

import click
import pytest

from aiadmin_core.errors import AiAdminError
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_server import __version__
from aiadmin_server.cli import _plugins
from aiadmin_server.cli._verbs import MEANT, SAME, VERBS

HEAVY = {"httpx", "rich", "litestar", "prompt_toolkit", "uvicorn", "llama_cpp", "mlx", "numpy", "llguidance", "jinja2"}


class Greetings:
    """A plugin with verbs of its own."""

    @hookimpl
    def aiadmin_cli_commands(self):
        return {"greet": f"{__name__}:greet", "list": f"{__name__}:greet", "fail": f"{__name__}:fail"}


@click.command()
def greet():
    """Say hello."""
    click.echo("hello")


@click.command()
@click.argument("how")
def fail(how):
    """Fail in one of several ways."""
    errors = {
        "known": AiAdminError("It broke.", hint="Mend it."),
        "bug": KeyError("nothing"),
        "ctrl-c": KeyboardInterrupt(),
    }
    raise errors[how]


@pytest.fixture
def greetings(monkeypatch):
    """The plugin is installed."""
    plugins = load_plugins(builtin=[("greetings", Greetings())], only=[])
    monkeypatch.setattr(_plugins, "installed_plugins", lambda: plugins)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_line_of_help_and_a_help_page(verb, invoke):
    command = import_module(f"aiadmin_server.cli.{verb}").command

    assert command.help.splitlines()[0] == VERBS[verb]
    assert invoke(verb, "--help").exit_code == 0


def test_help_lists_every_verb_and_version_is_ours(invoke):
    shown = invoke("--help").stdout

    assert all(f"{verb} " in shown and text in shown for verb, text in VERBS.items())
    assert invoke("--version").stdout.strip().endswith(__version__)


def test_an_unknown_verb_is_misuse_and_the_nearest_is_named(invoke):
    result = invoke("lsit")

    assert result.exit_code == 2
    assert "Did you mean 'list'?" in result.stderr


@pytest.mark.parametrize("word", MEANT)
def test_another_programs_word_leads_to_the_verb_that_does_it(invoke, word):
    """Spelling alone leads `delete` to `create`."""
    assert f"There is no verb '{word}'. Did you mean '{MEANT[word]}'?" in invoke(word).stderr
    assert MEANT[word] in VERBS or invoke(MEANT[word]).exit_code == 0


@pytest.mark.parametrize("word", SAME)
def test_ollamas_short_names_are_the_verbs_themselves(invoke, word):
    assert invoke(word, "--help").stdout.partition("\n")[2] == invoke(SAME[word], "--help").stdout.partition("\n")[2]


@pytest.mark.parametrize("words", [[], ["run"], ["ls"], ["alias", "set"], ["help"]])
def test_help_may_be_asked_for_in_words(invoke, words):
    assert invoke("help", *words).stdout == invoke(*words, "--help").stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rnu"], "There is no verb 'rnu'. Did you mean 'run'?"),
        (["alias", "nothing"], "No such command 'nothing'"),
        (["run", "smollm2"], "'aiadmin run' has no 'smollm2'"),
    ],
)
def test_help_about_what_is_not_there_is_misuse(invoke, words, says):
    result = invoke("help", *words)

    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize("arguments", [["list", "--jason"], ["cp", "one"], ["rm"], ["alias", "set", "a"], ["run"]])
def test_misuse_exits_with_2(invoke, arguments):
    assert invoke(*arguments).exit_code == 2


def test_plugins_add_verbs_and_take_none_of_ours(invoke, greetings):
    assert invoke("greet").stdout == "hello\n"
    assert "greet" in invoke("--help").stdout
    assert invoke("list").stdout != "hello\n"
    assert "Did you mean 'greet'" in invoke("gret").stderr


def test_a_foreseen_error_is_a_sentence_and_a_hint(invoke, greetings):
    result = invoke("fail", "known")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: It broke.\nMend it.\n")


def test_a_bug_is_no_traceback_unless_asked_for(invoke, greetings, monkeypatch):
    plain, debug = invoke("fail", "bug"), invoke("--debug", "fail", "bug")

    assert plain.exit_code == debug.exit_code == 1
    assert "Traceback" not in plain.stderr
    assert "KeyError" in plain.stderr
    assert "--debug" in plain.stderr
    assert "Traceback" in debug.stderr
    monkeypatch.setenv("AIADMIN_DEBUG", "1")
    assert "Traceback" in invoke("fail", "bug").stderr


def test_debug_is_understood_after_the_verb_too(invoke):
    assert "Traceback" in invoke("cp", "missing", "other", "--debug").stderr


def test_an_interruption_exits_as_shells_expect(invoke, greetings):
    result = invoke("fail", "ctrl-c")

    assert (result.exit_code, result.stderr) == (130, "")


def test_a_setting_that_cannot_be_read_names_its_variable(invoke, monkeypatch):
    monkeypatch.setenv("AIADMIN_MAX_QUEUE", "many")

    result = invoke("list")

    assert result.exit_code == 1
    assert "AIADMIN_MAX_QUEUE" in result.stderr


@pytest.mark.parametrize("verb", ["ps", "stop"])
def test_verbs_that_need_a_server_say_how_to_start_one(invoke, verb):
    result = invoke(verb, *(["smollm2"] if verb == "stop" else []))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "No server is running at http://127.0.0.1:9" in result.stderr
    assert "aiadmin serve" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["alias"], ["rm", "missing"]])
def test_quick_verbs_import_nothing_heavy(arguments, state):
    """Start-up is short because of what is not imported; installed plugins included."""
    script = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    script += f"from aiadmin_server.cli import main; main({arguments!r})"

    environment = {name: value for name, value in os.environ.items() if name != "AIADMIN_PLUGINS"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)

    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "aiadmin_server" in loaded
    assert not loaded & HEAVY


def test_the_module_is_the_command(state):
    done = subprocess.run(
        [sys.executable, "-m", "aiadmin_server", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == f"aiadmin, version {__version__}"


def test_a_plugins_verb_that_is_not_there_names_the_plugin(invoke, monkeypatch):
    verbs = {"gone": "nowhere:command", "odd": f"{__name__}:HEAVY"}
    plugins = load_plugins(builtin=[("moved", SimpleNamespace(aiadmin_cli_commands=hookimpl(lambda: verbs)))], only=[])
    monkeypatch.setattr(_plugins, "installed_plugins", lambda: plugins)

    gone, odd = invoke("gone"), invoke("odd")

    assert (gone.exit_code, odd.exit_code) == (1, 1)
    assert "The plugin 'moved' has no verb 'gone' at nowhere:command: ModuleNotFoundError" in gone.stderr
    assert "it is set, not a click command" in odd.stderr


def test_verbs_go_on_without_a_backend_that_is_none(echo, aiadmin_process, tmp_path):
    """And name whose it is."""
    site = tmp_path / "wrong"
    about = site / "aiadmin_wrong-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: aiadmin-wrong\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[aiadmin]\nwrong = aiadmin_wrong\n")
    (site / "aiadmin_wrong.py").write_text(
        "from aiadmin_core.hookspecs import hookimpl\n@hookimpl\ndef aiadmin_backends():\n    return [object()]\n"
    )
    echo["PYTHONPATH"] += os.pathsep + str(site)
    echo["AIADMIN_PLUGINS"] += ",wrong"

    listed, asked, plugins = aiadmin_process("list"), aiadmin_process("run", "echo", "hi"), aiadmin_process("plugins")

    fault = "aiadmin_backends gave an object, which is no Backend: it has no 'name'."
    assert (listed.returncode, listed.stderr) == (0, f"The plugin wrong: {fault}\n")
    assert "echo:latest" in listed.stdout
    assert (asked.returncode, asked.stdout) == (0, "[0 before] hi \n")
    assert plugins.stdout.splitlines()[-2:] == ["wrong      1.0       backends", f"wrong: {fault}"]
    assert plugins.stderr == ""


def test_a_server_whose_guard_is_missing_does_not_start(echo, aiadmin_process):
    echo["AIADMIN_PLUGINS"] += ",keys"

    done = aiadmin_process("serve", "--port", "0")

    assert (done.returncode, done.stdout) == (1, "")
    what, remedy = done.stderr.splitlines()
    assert what == (
        "Error: The plugin 'keys' may guard this server and is not in use: named in AIADMIN_PLUGINS and not installed."
    )
    assert "leave it out: AIADMIN_PLUGINS=-keys" in remedy
