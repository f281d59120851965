"""Imports point one way, and what is neutral names no API: apis -> serving -> routing -> core <- backends."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "packages"
SOURCES = {path.name: path for path in ROOT.glob("*/src/*") if (path / "__init__.py").exists()}
SERVER = SOURCES["aiadmin_server"]

MAY_NOT: dict[str, set[str]] = {
    "durations": {"settings", "store", "sources", "runners", "routing", "http", "serving", "apis", "app", "cli"},
    "settings": {"store", "sources", "runners", "routing", "http", "serving", "apis", "app", "cli"},
    "store": {"sources", "runners", "routing", "http", "serving", "apis", "app", "cli"},
    "sources": {"runners", "routing", "http", "serving", "apis", "app", "cli"},
    "runners": {"store", "sources", "routing", "http", "serving", "apis", "app", "cli"},
    "routing": {"http", "serving", "apis", "app", "cli"},
    "http": {"store", "sources", "runners", "routing", "serving", "apis", "app", "cli"},
    "serving": {"store", "sources", "runners", "apis", "app", "cli"},
    "apis": {"runners", "app", "cli"},
    "app": {"cli"},
}
"""Parts of the server, and what each must not know."""
BACKENDS = {"openai"}
"""Names of our own packages, which the router tells people to install: no words of an API."""
FOREIGN_WORDS = ("openai", "ollama", "anthropic", "gemini", "response_format", "/v1", "/api/")


def imported(path: Path, package: str) -> Iterator[str]:
    """Absolute names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each file below a source folder, after its dotted name."""
    for path in sorted(folder.rglob("*.py")):
        yield ".".join(path.relative_to(folder.parent).with_suffix("").parts), path


def imports_of(folder: Path) -> Iterator[tuple[str, str]]:
    """(module, what it imports) for every file below a source folder."""
    for name, path in modules(folder):
        package = name.removesuffix(".__init__") if path.name == "__init__.py" else name.rpartition(".")[0]
        yield from ((name, target) for target in imported(path, package))


def texts(path: Path) -> Iterator[str]:
    """The strings of a file that are no docstrings."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


@pytest.mark.parametrize("part", MAY_NOT)
def test_no_part_of_the_server_imports_what_stands_above_it(part):
    upwards = [
        f"{name} imports {target}"
        for name, target in imports_of(SERVER)
        if name.split(".")[1] == part and target.startswith("aiadmin_server.") and target.split(".")[1] in MAY_NOT[part]
    ]
    assert upwards == []


def test_no_api_imports_another():
    """What two of them need is neutral, and stands in `serving` or `http`."""
    apis = {path.name for path in (SERVER / "apis").iterdir() if (path / "__init__.py").exists()}
    assert {"openai", "ollama"} <= apis
    for name, target in imports_of(SERVER / "apis"):
        mine, other = name.split(".")[1:2], target.split(".")[2:3]
        if target.startswith("aiadmin_server.apis.") and mine and mine[0] in apis and other[0] in apis:
            assert mine == other, f"{name} imports {target}"


def test_core_knows_neither_the_server_nor_a_backend():
    others = set(SOURCES) - {"aiadmin_core"}
    assert [pair for pair in imports_of(SOURCES["aiadmin_core"]) if pair[1].split(".")[0] in others] == []


def test_a_backend_knows_core_alone():
    for package in set(SOURCES) - {"aiadmin_core", "aiadmin_server"}:
        others = set(SOURCES) - {"aiadmin_core", package}
        assert [pair for pair in imports_of(SOURCES[package]) if pair[1].split(".")[0] in others] == []


@pytest.mark.parametrize(
    "folder",
    [SERVER / "serving", SERVER / "routing", SERVER / "http", SOURCES["aiadmin_core"]],
    ids=lambda path: path.name,
)
def test_what_is_neutral_says_no_api_s_words(folder):
    found = [
        (name, text)
        for name, path in modules(folder)
        for text in texts(path)
        if any(word in text.lower() for word in FOREIGN_WORDS) and text not in BACKENDS
    ]
    assert found == []
