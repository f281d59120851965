"""OpenAI's own description, for the tests that read it."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def schemas(openai_description: Any) -> dict[str, Any]:
    """Its schemas."""
    if not openai_description.SPEC.exists():
        pytest.skip("OpenAI's description is not beside this checkout")
    found: dict[str, Any] = openai_description.described()
    return found
