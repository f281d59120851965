"""One server with the real models, for the programs and libraries that speak to it."""

from collections.abc import Iterator
from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need the real model, and share the server."""
    for item in items:
        if item.path.parent.name == "clients":
            item.add_marker(pytest.mark.real_model)
            item.add_marker(pytest.mark.xdist_group("clients"))


@pytest.fixture(scope="session")
def url(product: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Ollama's clients look. It serves `smollm2` and, for embeddings, `minilm`."""
    own = product.clone(tmp_path_factory.mktemp("clients") / "state")
    own.run("pull", "minilm")
    with own.serve() as server:
        yield server.url


@pytest.fixture(scope="session")
def base_url(url: str) -> str:
    """Where OpenAI's clients look."""
    return f"{url}/v1"
