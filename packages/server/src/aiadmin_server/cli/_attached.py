"""Files that a prompt brings along: images named by their paths, schemas for `--format`."""

import base64
import re
from pathlib import Path
from typing import Any

from aiadmin_core.errors import BadRequest

from ._conversation import Content

MEDIA_TYPES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".gif": "gif"}
MAX_BYTES = 20 << 20
_PATH = re.compile(
    r"""(?P<quote>["'])(?P<quoted>[^"'\n]+\.(?:png|jpe?g|webp|gif))(?P=quote)"""
    r"""|(?P<bare>(?:\\\s|[^\s"'])+\.(?:png|jpe?g|webp|gif))(?=[\s.,;:!?)]|$)""",
    re.IGNORECASE,
)
"""A path of an image: quoted, or with its spaces escaped as a shell and a terminal that something is dropped on do."""


def content_of(prompt: str) -> Content:
    """The prompt as a message has it: with the images that it names by path, where those files are there. A model that
    does not see refuses them. Raises `BadRequest` for one that cannot be read, or is too large."""
    images = [path for found in _PATH.finditer(prompt) if (path := _file(found)) is not None]
    if not images:
        return prompt
    pictures = [{"type": "image_url", "image_url": {"url": _data_url(path)}} for path in dict.fromkeys(images)]
    return [{"type": "text", "text": prompt}, *pictures]


def response_format(text: str) -> dict[str, Any]:
    """What `--format` asks for: `json`, a schema's text, or a file that holds one. Raises `BadRequest`."""
    import msgspec

    if text.strip().lower() == "json":
        return {"type": "json_object"}
    schema_text = text if text.lstrip().startswith("{") else _schema_file(text)
    try:
        schema = msgspec.json.decode(schema_text)
    except msgspec.DecodeError as error:
        raise BadRequest(f"The schema for --format is no JSON: {error}.", param="format") from None
    if not isinstance(schema, dict):
        raise BadRequest("The schema for --format is no JSON object.", param="format")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _schema_file(text: str) -> str:
    try:
        return Path(text).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise BadRequest(
            f"--format takes `json`, a JSON schema, or a file that holds one; '{text}' cannot be read: {reason}.",
            param="format",
        ) from None


def _file(found: re.Match[str]) -> Path | None:
    text = found["quoted"] or re.sub(r"\\(\s)", r"\1", found["bare"])
    try:
        path = Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, no home folder, a null character
        return None


def _data_url(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadRequest(f"The image '{path}' is larger than {MAX_BYTES >> 20} MB.", hint="Send a smaller one.")
        data = path.read_bytes()
    except OSError as error:
        raise BadRequest(f"The image '{path}' cannot be read: {error.strerror}.") from None
    return f"data:image/{MEDIA_TYPES[path.suffix.lower()]};base64,{base64.b64encode(data).decode()}"
