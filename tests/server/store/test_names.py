"""The grammar of model names."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiadmin_core.errors import InvalidName
from aiadmin_server.store.names import DEFAULT_HOST, ModelName, parse_name, same_name, short_name

FIRST = string.ascii_letters + string.digits + "_"


def parts(more: str, longest: int = 80) -> st.SearchStrategy[str]:
    return st.builds(str.__add__, st.sampled_from(FIRST), st.text(FIRST + more, max_size=longest - 1))


NAMES = st.builds(ModelName, parts("-.:", 350), parts("-"), parts("-."), parts("-."))


@given(NAMES)
def test_what_is_displayed_parses_to_the_same_name(name: ModelName):
    assert parse_name(name.display).key == name.key


@given(NAMES)
def test_a_name_written_in_full_keeps_every_part(name: ModelName):
    assert parse_name(f"{name.host}/{name.namespace}/{name.model}:{name.tag}") == name


@given(NAMES)
def test_a_name_without_the_tag_that_is_meant_anyway_is_the_same_name(name: ModelName):
    for text in (name.display, name._replace(tag="latest").display, name._replace(tag="Latest").display):
        assert same_name(short_name(text), text)
    assert short_name(name._replace(tag="latest").display) == name.display.rpartition(":")[0]
    assert short_name("llamacpp/a:b/c:latest") == "llamacpp/a:b/c"


@given(st.text(max_size=200))
def test_any_text_is_a_name_or_says_why_not(text: str):
    """No other exception, and what is accepted is safe as a path."""
    faults: list[InvalidName] = []
    try:
        name = parse_name(text)
    except InvalidName as error:
        faults.append(error)
    else:
        assert all(part and part[0] in FIRST and "/" not in part and "\\" not in part for part in name)
    assert all(fault.status == 400 and fault.hint and fault.message.isprintable() for fault in faults)


@pytest.mark.parametrize(
    ("text", "display"),
    [
        ("smollm2", "smollm2:latest"),
        ("smollm2:135m", "smollm2:135m"),
        ("library/smollm2", "smollm2:latest"),
        ("me/smollm2:x", "me/smollm2:x"),
        (f"{DEFAULT_HOST}/library/smollm2", "smollm2:latest"),
        ("REGISTRY.Ollama.AI/Library/smollm2", "smollm2:latest"),
        ("https://example.com:5000/me/m:1", "example.com:5000/me/m:1"),
        ("example.com:5000/me/m", "example.com:5000/me/m:latest"),
        ("gpt-3.5-turbo", "gpt-3.5-turbo:latest"),
    ],
)
def test_defaults_are_filled_in_and_left_out_again(text: str, display: str):
    assert parse_name(text).display == display


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "model is empty"),
        ("m:", "tag is empty"),
        ("/m", "namespace is empty"),
        ("a.b/m", "namespace 'a.b'"),
        (".m", "model '.m'"),
        ("../../etc/passwd", "three parts"),
        ("../m", "namespace '..'"),
        ("m:a/b", "namespace 'm:a'"),
        ("m" * 81, "model is longer than 80"),
        ("a/b/c/d", "three parts"),
        ("ftp://x/y/z", "three parts"),
        ("sm ol", "model 'sm ol'"),
        ("a\nb", r"model 'a\nb'"),
        ("ümlaut", "model 'ümlaut'"),
    ],
)
def test_an_invalid_name_says_which_part_is_wrong(text: str, part: str):
    with pytest.raises(InvalidName) as caught:
        parse_name(text)
    assert part in caught.value.message


def test_names_are_compared_without_case():
    assert same_name("SmolLM2", "smollm2:LATEST")
    assert not same_name("smollm2", "smollm2:135m")
    assert not same_name("not a name", "not a name")
