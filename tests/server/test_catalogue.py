"""Short names: ours, the user's, what is found by words."""

import logging

import pytest

from aiadmin_core.plugins import load_plugins
from aiadmin_server import catalogue as module
from aiadmin_server.catalogue import built_in, catalogue, find_entry, matching
from aiadmin_server.catalogue.reading import read_catalogue
from aiadmin_server.pull import plan
from aiadmin_server.sources import installed
from aiadmin_server.sources.installed import installed_sources
from aiadmin_server.store.names import parse_name

OWN = """
[[model]]
name = "house"
reference = "https://files.example/house.gguf"
size = 5
summary = "Ours"
license = "MIT"
parameters = { temperature = 0.1 }

[[model]]
name = "SmolLM2"
reference = "file:/models/other.gguf"
size = 6
summary = "Another one"
license = "MIT"
"""


@pytest.fixture
def plugins():
    return load_plugins(builtin=[("catalogue", module), ("sources", installed)], only=[])


@pytest.fixture
def own(tmp_path, monkeypatch):
    path = tmp_path / "catalogue.toml"
    monkeypatch.setenv("AIADMIN_CATALOGUE", str(path))
    return path


def test_every_entry_has_a_name_a_source_a_size_and_a_licence(plugins):
    sources = installed_sources(plugins)
    entries = built_in()
    assert len(entries) > 60
    for entry in entries:
        assert parse_name(entry.name).display
        assert entry.size > 10**6
        assert entry.summary
        assert entry.license
        assert entry.homepage.startswith("https://")
        order = plan(entry.name, [entry], sources)
        assert order.source.scheme in ("pypi", "registry")
    assert {"llama3.2", "llama3.2:1b", "qwen2.5:0.5b", "gemma3:1b", "gpt-oss", "nomic-embed-text"} <= {
        entry.name for entry in entries
    }


def test_the_users_entries_go_before_ours(own, plugins):
    own.write_text(OWN)
    entries = catalogue(plugins)
    assert find_entry(entries, "house").parameters == {"temperature": 0.1}
    assert find_entry(entries, "smollm2").summary == "Another one"
    assert find_entry(entries, "minilm").digest


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[model", "cannot be read"),
        ('[[model]]\nname = "x"', "missing required field"),
        ('[[models]]\nname = "x"', "unknown field"),
        (
            '[[family]]\nname = "x"\nsummary = ""\nlicense = ""\ndefault = "2b"\nsizes = { "1b" = 1 }',
            "the default '2b' of 'x' is none of its sizes",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_costs_its_own_models_alone(own, plugins, caplog, text, says):
    own.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert find_entry(catalogue(plugins), "smollm2")
    assert str(own) in caplog.text
    assert says in caplog.text


def test_words_are_looked_for_in_names_and_summaries():
    entries = built_in()
    assert {entry.name for entry in matching(entries, ["QWEN", "coder"])} >= {"qwen2.5-coder", "qwen2.5-coder:7b"}
    assert "minilm" in {entry.name for entry in matching(entries, ["embeddings", "english"])}
    assert matching(entries, ["no such model"]) == []
    assert len(matching(entries, [])) == len(entries)


def test_a_family_is_its_sizes_and_its_name_the_default_one():
    text = b'[[family]]\nname = "x"\nsummary = "s"\nlicense = "l"\ndefault = "2b"\nsizes = { "1b" = 0.5, "2b" = 1.5 }'
    entries = read_catalogue(text).entries()
    assert [(entry.name, entry.reference, entry.size) for entry in entries] == [
        ("x", "registry:x", 1_500_000_000),
        ("x:1b", "registry:x:1b", 500_000_000),
        ("x:2b", "registry:x:2b", 1_500_000_000),
    ]
