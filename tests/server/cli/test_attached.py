"""Images named by their paths in a prompt."""

import base64

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_server.cli._attached import content_of

PIXEL = b"\x89PNG pixel"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cat.png", "my dog.JPG", "x.webp"):
        (tmp_path / name).write_bytes(PIXEL)
    return tmp_path


def urls(content):
    return [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


def test_an_image_is_sent_with_the_text_that_names_it(folder):
    content = content_of("What is in ./cat.png?")
    assert content[0] == {"type": "text", "text": "What is in ./cat.png?"}
    assert urls(content) == [f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"]


@pytest.mark.parametrize("prompt", ["see 'my dog.JPG'", 'see "my dog.JPG".', "see my\\ dog.JPG now"])
def test_a_name_with_spaces_is_quoted_or_escaped(folder, prompt):
    (url,) = urls(content_of(prompt))
    assert url.startswith("data:image/jpeg;")


def test_several_images_come_in_order_and_each_once(folder):
    kinds = [url[:16] for url in urls(content_of(f"{folder}/x.webp, cat.png and cat.png"))]
    assert kinds == ["data:image/webp;", "data:image/png;b"]


@pytest.mark.parametrize("prompt", ["what is dog.png?", "png", "a.png" + "x" * 5000, "\0.png", "~nobody/x.png", ""])
def test_what_is_no_file_is_text(folder, prompt):
    assert content_of(prompt) == prompt


def test_an_image_that_is_too_large_is_refused(folder):
    with (folder / "large.png").open("wb") as file:
        file.truncate(21 << 20)
    with pytest.raises(BadRequest, match="larger than 20 MB"):
        content_of("large.png")
