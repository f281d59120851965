"""How a model of a hub is named: `[https://](hf.co|huggingface.co)/ORGANISATION/REPOSITORY[@REVISION][:TAG]`. Pure.

A tag is a quantization (`Q4_K_M`), the name of a file, or `safetensors`. Addresses of a file's page work too.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from aiadmin_core.errors import BadRequest

HOSTS = ("hf.co", "huggingface.co", "www.huggingface.co")
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(rf"({_PART}/{_PART})(?:@([\w./-]+?))?(?::([^:]+))?")
_PAGE = re.compile(rf"({_PART}/{_PART})/(?:blob|resolve|tree|raw|file/view)/([^/]+)(?:/(.+?))?/?")


class Wanted(NamedTuple):
    """A reference, taken apart."""

    repo: str
    revision: str = ""
    """"" for what the repository shows first."""
    tag: str = ""
    """A quantization, a file, `safetensors`; "" leaves the choice."""


def is_of_hub(text: str, hosts: Sequence[str] = HOSTS) -> bool:
    """Whether a text without the hub's scheme names something of it."""
    return without_host(text, hosts) is not None


def without_host(text: str, hosts: Sequence[str] = HOSTS) -> str | None:
    rest = re.sub(r"^https?://", "", text, flags=re.IGNORECASE)
    host, slash, path = rest.partition("/")
    return path if slash and host.lower() in hosts else None


def parse(reference: str, hosts: Sequence[str] = HOSTS, *, trunk: str = "main") -> Wanted:
    """`trunk` is the revision that a repository shows first. Raises `BadRequest`."""
    text = without_host(reference, hosts) or reference.removeprefix("//")
    text = text.partition("?")[0].strip("/")
    if page := _PAGE.fullmatch(text):
        return Wanted(page[1], "" if page[2] == trunk else page[2], page[3] or "")
    if match := _REPO.fullmatch(text):
        tag = match[3] or ""
        return Wanted(match[1], match[2] or "", "" if tag.lower() == "latest" else tag)
    raise BadRequest(
        f"'{reference}' names no model of the hub.",
        hint=f"Write `{hosts[0]}/ORGANISATION/REPOSITORY`, with `:Q4_K_M` or the like after it for one quantization.",
        param="model",
    )
