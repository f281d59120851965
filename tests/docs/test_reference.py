"""The reference pages say what the code says."""

import re
from pathlib import Path

from aiadmin_core import hookspecs
from aiadmin_server.settings import FIELDS, load_settings

DOCS = Path(__file__).parents[2] / "docs"


def test_every_setting_is_on_its_page_with_its_text() -> None:
    page = " ".join((DOCS / "reference" / "settings.md").read_text().split())

    for name, text in FIELDS.items():
        assert f"`{name}`" in page
        assert " ".join(text.split()) in page, name
    assert set(re.findall(r"`(AIADMIN_[A-Z_]+)`\s*\|", page)) == set(FIELDS)


def test_every_setting_that_is_read_is_documented() -> None:
    read = set(re.findall(r"AIADMIN_[A-Z_]+", Path(load_settings.__code__.co_filename).read_text()))

    assert read <= set(FIELDS)


def test_the_hooks_page_and_the_hooks_are_the_same_list() -> None:
    page = (DOCS / "reference" / "hooks.md").read_text()
    hooks = {name for name in vars(hookspecs) if name.startswith("aiadmin_")}

    assert set(re.findall(r"^## `(aiadmin_\w+)`", page, re.MULTILINE)) == hooks


def test_the_hooks_page_shows_each_hook_at_work() -> None:
    page = (DOCS / "reference" / "hooks.md").read_text()

    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        name = section.split("`")[1]
        assert f"def {name}(" in section, f"{name} has no example"
