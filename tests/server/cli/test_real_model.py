"""The command line with a real model: pulled, asked, looked at, unloaded."""

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(300)]
NOWHERE = "127.0.0.1:9"
"""Nobody listens on the discard port: a command that needs a server starts its own."""
SAY = ("Say this is a test", "--temperature", "0", "--max-tokens", "16")


def test_run_pulls_what_the_catalogue_has_and_answers(product: Any, tmp_path) -> None:
    """On a machine with nothing on it; stdout is the answer alone."""
    fresh = type(product)(state=tmp_path / "state")

    done = fresh.run("run", "smollm2", *SAY, AIADMIN_HOST=NOWHERE, timeout=280)

    assert done.stdout.strip()
    assert "smollm2 is not here yet: pulling it" in done.stderr
    assert "pulling" not in done.stdout
    assert fresh.run("list").stdout.splitlines()[1].startswith("smollm2:latest")


def test_the_answer_is_the_same_through_a_running_server_and_ps_and_show_see_it(product: Any) -> None:
    alone = product.run("run", "smollm2", *SAY, AIADMIN_HOST=NOWHERE)
    with product.serve() as server:
        there = {"AIADMIN_HOST": server.url}
        through = product.run("run", "smollm2", *SAY, **there)
        completion = json.loads(product.run("run", "smollm2", *SAY, "--json", **there).stdout)
        listed = product.run("ps", **there).stdout.splitlines()[1].split()
        shown = product.run("show", "smollm2", **there).stdout
        product.run("stop", "smollm2", **there)
        after = product.run("ps", "--json", **there)

    assert through.stdout == alone.stdout
    assert completion["choices"][0]["message"]["content"].strip() == through.stdout.strip()
    assert listed[:2] == ["smollm2:latest", "llamacpp"]
    assert "by llamacpp on " in shown
    assert json.loads(after.stdout)["models"] == []
    assert json.loads(after.stdout)["unloaded"][0]["reason"] == "told to, as 'smollm2'"


def test_a_model_that_is_removed_leaves_the_memory(product: Any) -> None:
    product.run("cp", "smollm2", "copy")
    product.run("cp", "smollm2", "another")
    with product.serve() as server:
        there = {"AIADMIN_HOST": server.url}
        for name in ("copy", "another"):
            product.run("run", name, *SAY, **there)
        product.run("rm", "copy", **there)
        (model,) = server.ps()
        assert (model["name"], model["names"]) == ("another:latest", ["another:latest"])
        assert model["size"] > 200_000_000, "what the process takes, not what its file has"
        product.run("rm", "another", **there)
        server.eventually(lambda it: it.ps() == [])


def test_json_format_answers_with_an_object(product: Any) -> None:
    """Asked for a city without more, a model of this size goes on inventing keys until its context is full."""
    question = 'JSON of one city: {"city": "Paris"}'
    done = product.run("run", "smollm2", question, "--format", "json", "--temperature", "0", AIADMIN_HOST=NOWHERE)

    assert isinstance(json.loads(done.stdout), dict)


def test_a_folder_becomes_a_smaller_gguf_that_answers(product: Any, smollm2_mlx: Any, tmp_path) -> None:
    """Converted and quantized, SmolLM2 still speaks English."""
    fresh = type(product)(state=tmp_path / "state")
    path = tmp_path / "Modelfile"
    path.write_text(f"FROM {smollm2_mlx}\nPARAMETER temperature 0\n")

    made = fresh.run("create", "small", "-f", str(path), "-q", "q8_0", timeout=280)
    shown = json.loads(fresh.run("show", "small", "--json").stdout)
    said = fresh.run("run", "small", *SAY, AIADMIN_HOST=NOWHERE, timeout=280)

    assert "quantizing model to Q8_0" in made.stderr
    assert shown["model"]["info"]["quantization"] == "Q8_0"
    assert len(said.stdout.split()) > 3
    refused = fresh.run("create", "smaller", "-f", "-", "-q", "Q4_0", input="FROM small", check=False)
    assert "are Q8_0 already" in refused.stderr
