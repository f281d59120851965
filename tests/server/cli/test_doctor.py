"""`aiadmin doctor`: what each check decides, and the command on a real state folder."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from aiadmin_core.backend import Health
from aiadmin_core.errors import AiAdminError
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.observe import DoctorCheck, Finding
from aiadmin_core.plugins import Plugin, load_plugins
from aiadmin_server import doctor
from aiadmin_server.cli import _plugins
from aiadmin_server.runners import machine
from aiadmin_server.runners.machine import Crash


def test_a_python_outside_a_virtual_environment_is_a_warning():
    assert doctor.python_finding((3, 11, 2), venv="/venv").status == "ok"
    assert "-m venv" in doctor.python_finding((3, 11, 2), venv=None).hint


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (doctor.compiler_finding("/usr/bin/c++"), "ok"),
        (doctor.compiler_finding(None), "warning"),
        (doctor.installer_finding(["/usr/bin/uv"]), "ok"),
        (doctor.installer_finding([]), "warning"),
        (doctor.node_finding("v20.1.0"), "ok"),
        (doctor.node_finding("v16.20.0"), "warning"),
        (doctor.node_finding(None), "warning"),
        (doctor.disk_finding(Path("models"), 10**12), "ok"),
        (doctor.disk_finding(Path("models"), 10**6), "warning"),
        (doctor.server_finding("http://x", "aiadmin", "0.1.0"), "ok"),
        (doctor.server_finding("http://x", "nobody", ""), "ok"),
        (doctor.server_finding("http://x", "stranger", ""), "problem"),
        (doctor.store_finding(Path("models"), n_models=1, writable=True, problems=[]), "ok"),
        (doctor.store_finding(Path("models"), n_models=1, writable=False, problems=[]), "warning"),
        (doctor.store_finding(Path("models"), n_models=1, writable=True, problems=["a blob is gone"]), "problem"),
    ],
)
def test_each_check_decides_and_says_what_to_do(finding, status):
    assert finding.status == status
    assert (finding.status == "ok") == (finding.hint == ""), "advice where something is to be done, and only there"


def test_a_broken_plugin_is_named_with_its_error_and_how_to_leave_it_out():
    finding = doctor.plugins_finding(
        [Plugin(name="good", target="g"), Plugin(name="bad", target="b", error="no module")]
    )

    assert finding.status == "warning"
    assert "bad: no module" in finding.summary
    assert "AIADMIN_PLUGINS=-bad" in finding.hint


class Backend:
    """A backend as doctor sees it."""

    def __init__(self, *, ok: bool) -> None:
        self.ok = ok
        self.asked = 0

    def health(self) -> Health:
        self.asked += 1
        return Health(ok=self.ok, summary="here", hint="" if self.ok else "mend it")


def test_a_backend_that_fails_is_a_problem_only_if_no_other_works():
    def findings(**backends):
        return {check.name: check.run().status for check in doctor.backend_checks(backends)}

    assert findings(a=Backend(ok=True), b=Backend(ok=False)) == {
        "backend a": "ok",
        "backend b": "warning",
        "backends": "ok",
    }
    assert findings(b=Backend(ok=False))["backends"] == "problem"
    assert findings()["backends"] == "problem"


def test_each_backend_is_asked_once():
    backend = Backend(ok=True)

    for check in doctor.backend_checks({"a": backend}):
        check.run()

    assert backend.asked == 1


def test_safe_mode_is_a_warning_with_its_reason():
    crash = Crash(backend="llamacpp", build="b1", processor="p", reason="was killed by SIGSEGV", at=0.0)

    finding = doctor.safe_mode_finding([crash])

    assert finding.status == "warning"
    assert "llamacpp was killed by SIGSEGV" in finding.summary
    assert machine.FILE_NAME in finding.hint
    assert doctor.safe_mode_finding([]).status == "ok"


class Checks:
    """A plugin with checks of its own, one of which breaks."""

    @hookimpl
    def aiadmin_doctor_checks(self):
        return [
            DoctorCheck(name="fine", run=lambda: Finding(status="ok", summary="well", hint="not shown")),
            DoctorCheck(name="known", run=_raise(AiAdminError("It broke.", hint="Mend it."))),
            DoctorCheck(name="bug", run=_raise(KeyError("nothing"))),
        ]


def _raise(error):
    def run():
        raise error

    return run


def test_a_check_that_raises_is_a_problem_and_the_others_run(invoke, monkeypatch):
    plugins = load_plugins(builtin=[("checks", Checks())], only=[])
    monkeypatch.setattr(_plugins, "installed_plugins", lambda: plugins)

    result = invoke("doctor")

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "ok       fine   well",
        "problem  known  It broke.",
        "                Mend it.",
        "problem  bug    the check failed: KeyError: 'nothing'",
    ]


def test_doctor_as_json_has_every_check_of_ours(invoke, add):
    add("smollm2")

    result = invoke("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(result.stdout)}

    assert {"python", "compiler", "installer", "node", "plugins", "backends", "store", "disk", "server"} <= set(found)
    assert found["store"]["summary"].startswith("1 model in")
    assert found["backends"]["status"] == "problem", "no backend is loaded in this test"
    assert result.exit_code == 1


def test_a_model_whose_file_is_gone_is_a_problem(invoke, add, store):
    model = add("smollm2")
    Path(model.files[0].path).unlink()

    found = {finding["name"]: finding for finding in json.loads(invoke("doctor", "--json").stdout)}

    assert found["store"]["status"] == "problem"
    assert "aiadmin pull" in found["store"]["hint"]


def test_what_was_learnt_about_this_machine_is_told(echo, aiadmin_process, state):
    """A crash of the installed build on this processor is; one of another processor is not."""
    machine.remember(state, backend="echo", build="b1", reason="was killed by SIGSEGV")

    here = aiadmin_process("doctor")

    assert here.returncode == 0, here.stdout
    assert "backend echo" in here.stdout
    assert "SIGSEGV" not in here.stdout, "the echo backend of today has no build of that name"


class Stranger(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)

    def log_message(self, *arguments):
        """Say nothing."""


def test_a_port_taken_by_another_program_is_a_problem(invoke, monkeypatch):
    from threading import Thread

    server = HTTPServer(("127.0.0.1", 0), Stranger)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AIADMIN_HOST", f"127.0.0.1:{server.server_port}")

    found = {finding["name"]: finding for finding in json.loads(invoke("doctor", "--json").stdout)}

    server.shutdown()
    thread.join()
    server.server_close()
    assert found["server"]["status"] == "problem"


def test_it_says_where_the_logs_of_runners_are(tmp_path):
    (tmp_path / "runner-a-b.log").touch()

    assert str(tmp_path) in doctor.logs_finding(tmp_path).summary
    assert doctor.logs_finding(tmp_path / "not-there").status == "ok"


class Wrong:
    """A plugin whose backend is none."""

    @hookimpl
    def aiadmin_backends(self):
        return [object()]


def test_a_backend_that_is_none_is_named_and_the_rest_is_checked(invoke, monkeypatch):
    plugins = load_plugins(builtin=[("doctor", doctor), ("wrong", Wrong())], only=[])
    monkeypatch.setattr(_plugins, "installed_plugins", lambda: plugins)

    result = invoke("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(result.stdout)}

    assert result.stderr == ""
    assert "plugin wrong" not in found
    assert "wrong: aiadmin_backends gave an object, which is no Backend" in found["plugins"]["summary"]
    assert found["python"]["status"] in ("ok", "warning")


def test_checks_that_cannot_be_given_are_a_problem(invoke, monkeypatch):
    """Of a plugin's, or ours: nothing found is not nothing wrong."""
    broken = SimpleNamespace(aiadmin_doctor_checks=hookimpl(lambda: 1 / 0))
    plugins = load_plugins(builtin=[("broken", broken)], only=[])
    monkeypatch.setattr(_plugins, "installed_plugins", lambda: plugins)

    result = invoke("doctor")

    assert result.exit_code == 1
    assert "aiadmin_doctor_checks raised ZeroDivisionError: division by zero" in result.stdout


@pytest.mark.parametrize("given", [None, "well", Finding(status="fine", summary="well")])
def test_a_check_that_gives_no_finding_is_a_problem(invoke, monkeypatch, given):
    check = DoctorCheck(name="odd", run=lambda: given)
    plugins = load_plugins(builtin=[("odd", SimpleNamespace(aiadmin_doctor_checks=hookimpl(lambda: [check])))], only=[])
    monkeypatch.setattr(_plugins, "installed_plugins", lambda: plugins)

    result = invoke("doctor")

    assert result.exit_code == 1
    assert result.stdout.startswith("problem  odd  the check failed: it gave ")


def test_a_guard_that_is_not_in_use_is_a_problem():
    guard = Plugin(name="keys", target="", error="cannot be imported", guards=True)

    assert doctor.plugins_finding([guard]).status == "problem"
