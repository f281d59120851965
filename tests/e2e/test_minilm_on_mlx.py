"""`aiadmin pull minilm` where MLX is the only backend that can take it."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("mlx.core")
pytestmark = [pytest.mark.real_model, pytest.mark.xdist_group("server")]


def test_it_is_served_as_its_maker_published_it(product: Any, bert_reference: Any, tmp_path: Path) -> None:
    own = product.clone(tmp_path / "state")
    own.environment["AIADMIN_PLUGINS"] = "-llamacpp"
    own.run("pull", "minilm")

    with own.serve() as server:
        asked = {"model": "minilm", "input": ["A cat sits on the mat."]}
        answer = httpx.post(f"{server.url}/v1/embeddings", json=asked, timeout=60).json()
        (loaded,) = server.ps()

    expected = bert_reference.vector(bert_reference.tokens("A cat sits on the mat."))
    assert np.array(answer["data"][0]["embedding"]) @ expected > 0.999
    assert (loaded["name"], loaded["backend"]) == ("minilm:latest", "mlx")
