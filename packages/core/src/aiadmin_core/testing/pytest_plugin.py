"""The kit's options and its `aiadmin_engine` fixture. pytest loads this in every run where aiadmin-core is installed,
so it imports nothing of AiAdmin before a test asks for an engine."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

pytest.register_assert_rewrite(*(f"aiadmin_core.testing.{name}" for name in ("asking", "claims", "conformance")))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("aiadmin", "AiAdmin's conformance kit (pytest --pyargs aiadmin_core.testing)")
    group.addoption("--aiadmin-backend", metavar="NAME", help="backend to check, by its name")
    group.addoption("--aiadmin-model", metavar="PATH", default="", help='model for it to open; "" if it needs none')


@dataclass
class OpenEngine:
    """An engine and the event loop it lives on."""

    engine: Any
    runner: asyncio.Runner


@pytest.fixture(scope="session")
def aiadmin_engine(request: pytest.FixtureRequest) -> Iterator[OpenEngine]:
    """The engine that `--aiadmin-backend` opens, in this process."""
    name = request.config.getoption("--aiadmin-backend")
    if not name:
        pytest.skip("name the backend to check with --aiadmin-backend")
    from ..errors import AiAdminError
    from .opening import open_for_test

    try:
        engine = open_for_test(name, request.config.getoption("--aiadmin-model"))
    except AiAdminError as error:
        pytest.fail(str(error), pytrace=False)
    with asyncio.Runner() as runner:
        yield OpenEngine(engine, runner)
        runner.run(engine.close())
