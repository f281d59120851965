import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_openai.reference import local_name, origin, parse


def test_a_reference_names_server_and_model() -> None:
    remote = parse("openai:http://10.0.0.5:8000/v1#meta-llama/Llama-3").remote

    assert (remote.upstreams, remote.model, remote.key_variable) == (
        ("http://10.0.0.5:8000/v1",),
        "meta-llama/Llama-3",
        "",
    )


def test_several_servers_are_separated_by_commas_and_named_once() -> None:
    remote = parse("http://a:8000/v1/, http://b:8000,http://a:8000/v1#m").remote

    assert remote.upstreams == ("http://a:8000/v1", "http://b:8000/v1")


def test_options_follow_the_last_url() -> None:
    found = parse("https://api.example.com/v1?key=EXAMPLE_KEY&timeout=90&unchecked#gpt")

    assert found.unchecked
    assert (found.remote.key_variable, found.remote.read_timeout_s) == ("EXAMPLE_KEY", 90.0)
    assert origin(found.remote) == "openai:https://api.example.com/v1#gpt"


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "#m",
        "ftp://a/v1#m",
        "a:8000#m",
        "http://#m",
        "http://a:99999/v1#m",
        "http://[::1/v1#m",
        "http://a/v1,#m",
        "http://user:SECRET@a/v1#m",
        "http://a/v1?key=sk-SECRET#m",
        "http://a/v1?key=abcSECRET0123#m",
        "http://a/v1?sk-SECRET#m",
        "http://a/v1?timeout=SECRET#m",
        "http://a/v1?timeout=0#m",
        "http://a/v1?max_tokens_field=SECRET#m",
    ],
)
def test_a_reference_that_cannot_be_read_is_refused_without_repeating_what_may_be_a_key(reference: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(reference)

    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-3.1-8B", "llama-3.1-8b"),
        ("smollm2:135m", "smollm2:135m"),
        ("a b (c)", "a-b-c"),
        ("ä", ""),
    ],
)
def test_the_local_name_is_one_the_store_takes(model: str, name: str) -> None:
    assert local_name(model) == name
