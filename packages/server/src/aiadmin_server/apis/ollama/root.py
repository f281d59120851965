"""`GET|HEAD /` and `GET|HEAD /api/version`: who is there."""

from litestar import route
from litestar.enums import MediaType
from msgspec import Struct

import aiadmin_server

from ...http.openapi import described


class Version(Struct, frozen=True, kw_only=True):
    version: str


@route("/", http_method=["GET", "HEAD"], media_type=MediaType.TEXT)
async def root() -> str:
    """Say that somebody is there."""
    return "AiAdmin is running"


@route("/api/version", http_method=["GET", "HEAD"], opt=described(response=Version))
async def version() -> Version:
    """The server's version."""
    return Version(version=aiadmin_server.__version__)
