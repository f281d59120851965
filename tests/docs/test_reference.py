"""The reference pages say what the code says."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from msgspec import structs

from aiadmin_core import hookspecs
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.sampling import plain_parameters
from aiadmin_server.apis import builtin as builtin_apis
from aiadmin_server.apis.ollama.chat.wire import NativeChatRequest
from aiadmin_server.apis.ollama.generate.wire import GenerateBody
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.apis.openai.completions.wire import CompletionRequest
from aiadmin_server.apis.openai.embeddings.wire import EmbeddingRequest
from aiadmin_server.app import create_app
from aiadmin_server.catalogue import built_in
from aiadmin_server.http import errors as http_errors
from aiadmin_server.settings import FIELDS, Settings, load_settings

DOCS = Path(__file__).parents[2] / "docs"


def hook_examples() -> dict[str, str]:
    """The Python block under each hook's heading."""
    page = (DOCS / "reference" / "hooks.md").read_text()
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    return {section.split("`")[1]: section.split("```python\n")[1].split("```")[0] for section in sections}


def test_every_setting_is_on_its_page_with_its_text() -> None:
    page = " ".join((DOCS / "reference" / "settings.md").read_text().split())

    for name, text in FIELDS.items():
        assert f"`{name}`" in page
        assert " ".join(text.split()) in page, name
    assert set(re.findall(r"`(AIADMIN_[A-Z_]+)`\s*\|", page)) == set(FIELDS)


def test_every_setting_that_is_read_is_documented() -> None:
    read = set(re.findall(r"AIADMIN_[A-Z_]+", Path(load_settings.__code__.co_filename).read_text()))

    assert read <= set(FIELDS)


def test_every_field_of_a_request_is_on_the_http_page() -> None:
    page = (DOCS / "reference" / "http.md").read_text()
    chat, rest = page.split("## Fields of `/v1/completions`")
    completions, rest = rest.split("## Fields of `/v1/embeddings`")
    embeddings, native = rest.split("## Ollama's API")

    assert {name for name in ChatCompletionRequest.__struct_fields__ if f"`{name}`" not in chat} == set()
    assert {name for name in CompletionRequest.__struct_fields__ if f"`{name}`" not in chat + completions} == set()
    assert {name for name in EmbeddingRequest.__struct_fields__ if f"`{name}`" not in embeddings} == set()
    asking = {field.encode_name for one in (NativeChatRequest, GenerateBody) for field in structs.fields(one)}
    assert {name for name in asking if f"`{name}`" not in native} == set()


def sampling_table() -> str:
    """The parameters as they are declared."""
    lines = ["| field | default | range | |", "| --- | --- | --- | --- |"]
    for parameter in plain_parameters():
        default = json.dumps(parameter.default, ensure_ascii=False)
        limits = "" if parameter.low is None else f"{_number(parameter.low)} to {_number(parameter.high)}"
        lines.append(f"| `{parameter.name}` | `{default}` | {limits} | {parameter.description} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    known = {2**31 - 1: "2^31 - 1", 2**63 - 1: "2^63 - 1", -(2**63): "-2^63"}
    return known.get(int(value or 0), f"{value}")


def test_the_table_of_sampling_parameters_is_their_declaration() -> None:
    """After a change, put what the failure shows in the table's place."""
    page = (DOCS / "reference" / "http.md").read_text()

    assert sampling_table() in page


def test_every_error_that_is_told_by_a_code_is_on_its_page() -> None:
    """Codes are read from the sources: not every package can be imported everywhere."""
    page = (DOCS / "reference" / "errors.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    of_commands = set(re.findall(r"`(\w+)`", page.split("The command line has")[1].split("##")[0]))
    trees = [ast.parse(path.read_text()) for path in (DOCS.parent / "packages").glob("*/src/**/*.py")]
    classes = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    errors = [node for node in classes.values() if _stated(node, classes, "status") is not None]
    codes = {str(_stated(node, classes, "code")): str(_stated(node, classes, "status")) for node in errors}
    codes = {code: status for code, status in codes.items() if code and code not in of_commands}
    codes |= {code: str(status) for status, code in http_errors._HTTP_CODES.items()} | {"invalid_request": "4xx"}

    assert rows == codes


def _stated(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef], name: str) -> Any:
    """What a class, or the nearest of its bases that does, says an attribute of errors is; None for other classes."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=value)) if found == name:
                return value
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=True):
                    if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Constant):
                        return value.value
    bases = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
    return next((value for base in bases if (value := _stated(base, classes, name)) is not None), None)


def test_the_hooks_page_and_the_hooks_are_the_same_list() -> None:
    page = (DOCS / "reference" / "hooks.md").read_text()
    hooks = {name for name in vars(hookspecs) if name.startswith("aiadmin_")}

    assert set(re.findall(r"^## `(aiadmin_\w+)`", page, re.MULTILINE)) == hooks


@pytest.mark.parametrize(("name", "code"), sorted(hook_examples().items()))
def test_the_hooks_page_shows_each_hook_at_work(name: str, code: str) -> None:
    plugin = ModuleType(f"example_{name}")
    exec(compile(code, name, "exec"), vars(plugin))

    plugins = load_plugins(builtin=[(name, plugin)], only=[])

    assert not plugins.broken
    assert plugins.installed[0].hooks == (name,)


def test_the_example_of_a_dialect_reads_calls_however_they_are_cut() -> None:
    plugin = ModuleType("example")
    exec(compile(hook_examples()["aiadmin_dialects"], "example", "exec"), vars(plugin))
    dialect, _ = plugin.aiadmin_dialects()
    answer = 'if a<b: <function=f-1>{"x": "<function"}</function> and <function=g>{}</function> <function=h'

    for n in (1, 2, 5, len(answer)):
        parser = dialect.parser("", ())
        pieces = [piece for i in range(0, len(answer), n) for piece in parser.feed(answer[i : i + n])]
        pieces += parser.end("")
        calls = [piece for piece in pieces if not isinstance(piece, str)]

        assert "".join(piece for piece in pieces if isinstance(piece, str)) == "if a<b:  and  <function=h"
        assert [piece.name for piece in calls if piece.name] == ["f-1", "g"]
        assert "".join(piece.arguments for piece in calls) == '{"x": "<function"}{}'


def test_the_page_on_apis_shows_the_example_as_it_is() -> None:
    page = (DOCS / "how-to" / "write-an-api.md").read_text()

    for path in (DOCS / "examples" / "aiadmin-api-cohere" / "src" / "aiadmin_cohere").glob("[!_]*.py"):
        assert f"<!-- snippet: file aiadmin_cohere/{path.name} -->\n```python\n{path.read_text()}```" in page


async def test_the_example_of_keys_leaves_nothing_open_but_what_it_names(tmp_path: Path) -> None:
    plugin = ModuleType("example")
    exec(compile(hook_examples()["aiadmin_authenticate"], "example", "exec"), vars(plugin))
    app = create_app(
        Settings(state=tmp_path), plugins=load_plugins(builtin=[("apis", builtin_apis), ("keys", plugin)], only=[])
    )
    paths = {re.sub(r"\{.+?\}", "x", route.path) for route in app.routes}
    assert {"/api/ps", "/api/stop", "/metrics", "/v1/models"} <= paths

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        open_paths = {path for path in paths if (await client.get(path)).status_code != 401}
        key = {"authorization": "Bearer sk-family"}
        assert (await client.get("/api/ps", headers=key)).status_code == 200

    assert open_paths == plugin.PUBLIC


SOURCES = {
    "core": "packages/core/src/aiadmin_core",
    "server": "packages/server/src/aiadmin_server",
    "llamacpp": "packages/backend-llamacpp/src/aiadmin_llamacpp",
    "mlx": "packages/backend-mlx/src/aiadmin_mlx",
}
"""What the pages on the tree call the packages."""


@pytest.mark.parametrize("page", ["glossary.md", "the-path-of-a-request.md"])
def test_the_files_that_a_page_on_the_tree_names_are_there(page: str) -> None:
    """`server/http/protocol.py`, and `middleware.py` behind it on the same line, which lies beside it."""
    for line in (DOCS / "explanation" / page).read_text().splitlines():
        folder = ""
        for named in re.findall(r"`([\w/*]+(?:\.py|\.md|/))`", line):
            package, _, rest = named.partition("/")
            path = f"{SOURCES[package]}/{rest}" if package in SOURCES else f"{folder}/{named}"
            folder = path.rpartition("/")[0]
            assert any(DOCS.parent.glob(path.rstrip("/"))), named


@pytest.mark.parametrize("page", ["../README.md", "how-to/name-models.md"])
def test_what_the_catalogue_pins_is_told(page: str) -> None:
    text = (DOCS / page).read_text()

    assert all(f"`{entry.name}`" in text for entry in built_in() if entry.digest)
