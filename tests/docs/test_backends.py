"""The table of what each backend does says what the engines say."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from aiadmin_core.specs.capabilities import Capabilities, ConstraintKind, InputKind, Modality, OptionalProtocol
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_core.testing.opening import open_for_test
from aiadmin_openai.engine import CAPABILITIES

pytestmark = pytest.mark.real_model

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "backends.md"
NAMED = ("inputs", "modalities", "sampling", "constraints", "protocols")
"""Fields of `Capabilities` that are sets of names."""
EVERYWHERE = {"text", "max_tokens", "stop", "logprobs", "threads"}
"""What every engine has, and what no request asks for; `text` is named once, as an input."""


def rows() -> dict[str, list[str]]:
    """(what stands under each backend, and why not) by name of a capability."""
    table = PAGE.read_text(encoding="utf-8").split("| --- | --- | --- | --- | --- |\n")[1]
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        names, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in names.split(", "):
            assert name.strip("`") not in found, f"{name} is in two rows"
            found[name.strip("`")] = cells
    return found


def known() -> set[str]:
    """Every name that a request can need."""
    sets = {*get_args(InputKind), *get_args(Modality), *get_args(ConstraintKind), *get_args(OptionalProtocol)}
    others = set(Capabilities.__struct_fields__) - set(NAMED) - {"generates"}
    return (sets | set(SamplingParams.__struct_fields__) | others) - EVERYWHERE | {"text"}


def has(able: Capabilities, name: str) -> bool:
    return any(name in getattr(able, field) for field in NAMED) or bool(getattr(able, name, False))


@pytest.fixture(scope="module")
def engines(tiny_gguf: Path, tiny_mlx: Path) -> Iterator[dict[str, Capabilities]]:
    opened: dict[str, Any] = {
        "llamacpp": open_for_test("llamacpp", str(tiny_gguf)),
        "mlx": open_for_test("mlx", str(tiny_mlx)),
    }
    yield {name: engine.capabilities for name, engine in opened.items()} | {"openai": CAPABILITIES}
    for engine in opened.values():
        asyncio.run(engine.close())


def test_every_capability_is_in_the_table() -> None:
    assert set(rows()) == known()


@pytest.mark.parametrize(("column", "backend"), [(0, "llamacpp"), (1, "mlx"), (2, "openai")])
def test_the_table_is_true(engines: dict[str, Capabilities], column: int, backend: str) -> None:
    said = {name: cells[column] for name, cells in rows().items() if cells[column] != "model"}
    assert said == {name: "yes" if has(engines[backend], name) else "no" for name in said}


def test_whatever_is_not_there_has_a_reason() -> None:
    assert [name for name, cells in rows().items() if "no" in cells[:3] and not cells[3]] == []
