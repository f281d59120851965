"""`HEAD|POST /api/blobs/:digest`: files that clients send, for models to be made of."""

import asyncio
from typing import Any

from litestar import Request, Response, head, post
from litestar.exceptions import InternalServerException
from litestar.params import FromPath

from aiadmin_core.errors import BadRequest

from ...http.errors import ClientLeft
from ...http.openapi import described
from ...modelfile.bases import BlobNotFound
from ...serving.dependencies import ResolverDependency
from ...store.manifest import is_digest
from ...store.store import ModelStore

WRITTEN_AT_ONCE = 4 << 20
"""Bytes that are gathered before a thread hashes and writes them."""


@head("/api/blobs/{digest:str}", opt=described(closed=False))
async def has_blob(digest: FromPath[str], resolver: ResolverDependency) -> None:
    """Whether a file is here."""
    wanted = _digest(digest)
    if await asyncio.to_thread(resolver.store.blob, wanted) is None:
        raise BlobNotFound(wanted)
    resolver.store.uploads.keep(wanted)


@post("/api/blobs/{digest:str}", status_code=201, opt=described(closed=False))
async def put_blob(
    request: Request[Any, Any, Any], digest: FromPath[str], resolver: ResolverDependency
) -> Response[bytes]:
    """Take a file in: 201, or 200 where it is here already."""
    wanted = _digest(digest)
    if await asyncio.to_thread(resolver.store.blob, wanted) is not None:
        resolver.store.uploads.keep(wanted)
        return Response(b"", status_code=200)
    await _receive(request, wanted, resolver.store)
    return Response(b"", status_code=201)


async def _receive(request: Request[Any, Any, Any], digest: str, store: ModelStore) -> None:
    """To the disk as it comes. Raises `BadRequest` for another digest, `StoreError`, `ClientLeft`."""
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else 0
    upload = await asyncio.to_thread(store.uploads.begin, digest, size)
    gathered = bytearray()
    try:
        async for piece in request.stream():
            gathered += piece
            if len(gathered) >= WRITTEN_AT_ONCE:
                await asyncio.to_thread(upload.write, bytes(gathered))
                gathered.clear()
        await asyncio.to_thread(upload.write, bytes(gathered))
        await asyncio.to_thread(upload.finish)
    except InternalServerException:  # all that Litestar raises here by this name
        raise ClientLeft("The client left before it had sent the file.") from None
    finally:
        await asyncio.to_thread(upload.discard)


def _digest(text: str) -> str:
    digest = text.replace("sha256-", "sha256:", 1)
    if not is_digest(digest):
        raise BadRequest("invalid digest format", hint="It is sha256: and 64 hexadecimal digits.", param="digest")
    return digest
