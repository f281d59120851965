"""`aiadmin create`, killed wherever it is: nothing half is ever seen, and the next one makes the model."""

import subprocess

import pytest

from .conftest import AIADMIN


@pytest.mark.parametrize(
    "status",
    ["reading model metadata", "creating new layer", "verifying sha256 digest", "writing manifest", "success"],
)
def test_a_create_that_is_killed_leaves_the_store_whole(state, store, invoke, tmp_path, status):
    (tmp_path / "weights.gguf").write_bytes(b"GGUF" + bytes(40_000_000))
    path = tmp_path / "Modelfile"
    path.write_text("FROM ./weights.gguf\nSYSTEM Be brief.\n")

    with subprocess.Popen(
        [*AIADMIN, "create", "mine", "-f", str(path)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith(status):
                process.kill()
                break

    assert store.problems() == []
    assert store.verify() == []
    model = store.find("mine")
    assert model is None or model.system == "Be brief."
    result = invoke("create", "mine", "-f", str(path))
    assert result.exit_code == 0, result.stderr
    assert store.spec(store.find("mine")).system == "Be brief."
    assert store.verify() == []
