"""A model that is served elsewhere, as it lies in the store: `upstream.json`, the model's only file.

`source` writes it, `backend` reads it. It names the environment variable that holds the API key, never the key.
"""

import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from aiadmin_core.errors import BadRequest, NotAuthenticated

FILE_NAME = "upstream.json"
MAX_BYTES = 64 * 1024
"""A larger file is no upstream.json, and is not read."""

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
"""Names of variables. Upper case only, so that a key pasted in place of a name is seldom taken for one."""


class RemoteModel(Struct, frozen=True, kw_only=True, tag_field="kind", tag="openai"):
    """Which model, on which servers."""

    upstreams: tuple[str, ...]
    """Base URLs without a slash at the end (`http://10.0.0.5:8000/v1`); all serve the same model."""
    model: str
    """What the upstreams call it."""
    key_variable: str = ""
    """The environment variable that holds the API key; "" sends none."""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 300.0
    """Longest silence of an upstream, the wait for its first byte included: a long prompt takes its time."""
    public_only: bool = False
    """Whether only public addresses may be asked: it was pulled by somebody over HTTP."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Every server knows the first; some hosted models insist on the second."""


def write(remote: RemoteModel, path: Path) -> None:
    """The same model gives the same bytes, so the same digest."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(remote), indent=2) + b"\n")


def read(path: Path) -> RemoteModel | None:
    """The model `path` describes, or None if it is another kind of file.

    Raises `BadRequest` where it is an upstream.json, and broken.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        data = path.read_bytes()
        if msgspec.json.decode(data, type=_Kind).kind != "openai":
            return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    try:
        remote = msgspec.json.decode(data, type=RemoteModel)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{FILE_NAME} is broken: {error}.", hint="Pull the model again.") from None
    if not remote.upstreams:
        raise BadRequest(f"{FILE_NAME} is broken: it names no upstream.", hint="Pull the model again.")
    return remote


class _Kind(Struct):
    kind: str


def key_of(remote: RemoteModel) -> str:
    """The API key, "" where none is needed. Raises `NotAuthenticated`, which names the variable."""
    if not remote.key_variable:
        return ""
    key = os.environ.get(remote.key_variable, "").strip()
    if not key:
        raise NotAuthenticated(
            f"The environment variable {remote.key_variable}, which is to hold the API key for "
            f"{', '.join(map(host_of, remote.upstreams))}, is not set.",
            hint="Set it where `aiadmin serve` (and `aiadmin pull`) is started.",
        )
    if not (key.isascii() and key.isprintable()):  # httpx would name it in its error
        raise NotAuthenticated(f"The environment variable {remote.key_variable} holds no API key: not plain ASCII.")
    return key


def host_of(url: str) -> str:
    """What an upstream is called in messages: `10.0.0.5:8000`."""
    return urlsplit(url).netloc


def headers(key: str) -> dict[str, str]:
    """Of every request to an upstream."""
    # A compressed stream arrives in lumps.
    fixed = {"accept-encoding": "identity", "content-type": "application/json", "user-agent": "aiadmin"}
    return fixed | ({"authorization": f"Bearer {key}"} if key else {})
