"""Every routine of the project, one session each: `nox -l` lists them, `nox -s NAME` runs one.

Sessions that need llama.cpp take the wheel that pip compiled and cached on the first install (about 4 minutes, once).
"""

import os
import shutil
import tempfile
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "docs"]

ROOT = Path(__file__).parent
PACKAGES = ["core", "backend-llamacpp", "backend-mlx", "backend-openai", "server"]
EXAMPLES = [f"docs/examples/{name}" for name in ("aiadmin-backend-echo", "aiadmin-api-cohere")]
SOURCES = ["packages", "tests", "docs", "bench", "noxfile.py"]


def editable(packages: list[str], *, extras: str = "") -> list[str]:
    """pip arguments that install these packages from the checkout, changes taking effect at once."""
    paths = [f"packages/{name}" if "/" not in name else name for name in packages]
    return [argument for path in paths for argument in ("-e", f"./{path}{extras if path.endswith('core') else ''}")]


def group(name: str) -> list[str]:
    """The requirements of a dependency group of the workspace."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        requirements: list[str] = tomllib.load(file)["dependency-groups"][name]
    return requirements


def install(session: nox.Session) -> None:
    """All packages of the checkout and what the tests need, in one pip command."""
    session.install(*editable(PACKAGES, extras="[engine,testing]"), *group("test"))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the suite. Arguments go to pytest: `nox -s tests -- tests/core -k stop`."""
    install(session)
    session.run("pytest", "--strict-config", *(session.posargs or ["-n", "2", "--dist", "loadgroup", "tests"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format of all code, and the Dockerfile."""
    session.install(*group("lint"))
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    session.run("hadolint", "Dockerfile")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly. Native libraries are not needed."""
    session.install(*editable(["core", "server"], extras="[engine,testing]"), *group("types"))
    session.run("mypy", *(f"packages/{name}/src" for name in PACKAGES), *(f"{path}/src" for path in EXAMPLES))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build; every warning is an error."""
    session.install(*editable(["core", "server"], extras="[engine,testing]"), *group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html")


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheels of every package into dist/, and try them in clean environments as users combine them."""
    session.install("build", "hatchling")
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for path in [*(f"packages/{name}" for name in PACKAGES), *EXAMPLES]:
        session.run("python", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(dist), path, silent=True)
    session.run("python", "tests/wheels.py", str(dist), *session.posargs)


@nox.session
@nox.parametrize("which", ["openai==1.109.1", "openai==2.0.0", "newest"])
def clients(session: nox.Session, which: str) -> None:
    """Long: client libraries against the real model: OpenAI's old ones that programs pin, the newest of everybody."""
    install(session)
    tests = [f"tests/e2e/test_{name}.py" for name in ("openai_python", "openai_javascript", "curl", "backends_alike")]
    if which == "newest":
        # By uv, which the tests bring: pip looked for versions that go together for 13 minutes in vain, uv took 9 s.
        session.run(
            "uv", "pip", "install", "--python", session.virtualenv.location, "-U", *group("test"), *group("clients")
        )
        tests += ["tests/e2e/test_ollama_python.py", "tests/clients", "--no-skips"]
    else:
        session.install(which)
    session.run("pytest", *tests, *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Long: kills, vanishing and slow clients, full disks, again and again, 200 requests for three models in
    the memory of two, then ten minutes of all at once."""
    install(session)
    session.run(
        "pytest",
        "--rounds",
        "10",
        "tests/e2e/test_chaos.py",
        "tests/server/runners",
        "tests/server/sources/test_killed.py",
        *session.posargs,
    )
    session.run(
        "pytest",
        "-s",
        "--minutes",
        "10",
        "--timeout",
        "1200",
        "tests/e2e/test_memory.py",
        "tests/e2e/test_chaos_session.py",
        *session.posargs,
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Long: thousands of made-up requests, valid and broken, from our own document and from OpenAI's."""
    install(session)
    session.run("pytest", "--cases", "150", "--timeout", "3600", "tests/e2e/test_fuzz.py", *session.posargs)


@nox.session
def properties(session: nox.Session) -> None:
    """Long: the property tests with many more examples."""
    install(session)
    session.run("pytest", "-m", "hypothesis", "--hypothesis-profile", "long", "--timeout", "1800", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the decode loop, the engine and the server; `-- --url URL` another server too. See bench/README.md."""
    install(session)
    session.run("python", "bench/run.py", *session.posargs)


@nox.session
def exact(session: nox.Session) -> None:
    """Long: whether the same request gives the same tokens, in every way it can be asked. Arguments: GGUF files."""
    install(session)
    session.run("python", "bench/exact.py", *session.posargs)


@nox.session
def readme(session: nox.Session) -> None:
    """Run the README's first command in a fresh clone, as a newcomer would."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "aiadmin"
        session.run("git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(clone), external=True)
        command = _first_command((clone / "README.md").read_text())
        environment = {
            "AIADMIN_STATE": str(Path(folder) / "state"),
            "AIADMIN_HOST": "127.0.0.1:1",  # not a server that somebody runs on this machine
            "PATH": os.environ["PATH"],
        }
        session.chdir(clone)
        answer = session.run("bash", "-ec", command, external=True, env=environment, silent=True)
        said = str(answer).rpartition("\nsuccess\n")[2].strip()
        if len(said.split()) < 3:
            session.error(f"the first command of the README did not end in a sentence:\n{answer}")
        session.log(f"the model says: {said}")


def _first_command(readme: str) -> str:
    """The first fenced shell block."""
    return readme.split("```bash\n", 1)[1].split("```", 1)[0]
