"""`GET|HEAD /` and `GET|HEAD /api/version`: who is there."""

from litestar import route
from litestar.enums import MediaType
from msgspec import Struct

import aiadmin_server

from ...http.openapi import described

SPOKEN = "0.13.5"
"""The version of Ollama whose API this is: some clients want a recent one."""


class Version(Struct, frozen=True, kw_only=True):
    version: str
    """Of Ollama's API."""
    aiadmin: str
    """Our own."""


@route("/", http_method=["GET", "HEAD"], media_type=MediaType.TEXT)
async def root() -> str:
    """Say that somebody is there."""
    return "AiAdmin is running"


@route("/api/version", http_method=["GET", "HEAD"], opt=described(response=Version))
async def version() -> Version:
    """Which version of Ollama's API is spoken here, and the server's own."""
    return Version(version=SPOKEN, aiadmin=aiadmin_server.__version__)
