"""One server with the real models, for the programs and libraries that speak to it."""

from typing import Any

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need the real model, and share the server."""
    for item in items:
        if item.path.parent.name == "clients":
            item.add_marker(pytest.mark.real_model)
            item.add_marker(pytest.mark.xdist_group("server"))


@pytest.fixture(scope="session")
def url(server: Any, product: Any) -> str:
    """Where Ollama's clients look. It serves `smollm2` and, for embeddings, `minilm`."""
    product.run("pull", "minilm")
    return str(server.url)


@pytest.fixture(scope="session")
def base_url(url: str) -> str:
    """Where OpenAI's clients look."""
    return f"{url}/v1"
