"""The Python on pages of the documentation that needs a client's library."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
OURS = "<!-- snippet: run by `nox -s clients` -->\n```python\n"


@pytest.mark.parametrize("page", ["use-langchain.md"])
def test_every_snippet_of_the_page_runs(page: str, url: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "langchain_openai", reason="see test_langchain.py; it is installed by `nox -s clients`, not for every run"
    )
    pytest.importorskip("langchain_ollama")
    snippets: list[Any] = re.findall(re.escape(OURS) + r"(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    assert len(snippets) == 3
    for snippet in snippets:
        script = tmp_path / "snippet.py"
        script.write_text(snippet.replace("http://localhost:11434", url))
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=150)
        assert done.returncode == 0, f"{snippet}\n{done.stderr}"
