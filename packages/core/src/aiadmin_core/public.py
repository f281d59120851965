"""Servers that were named over HTTP, by somebody who may not use this machine to reach others: only public addresses.

`refuse_private` judges a name when it is pulled. A name may lead elsewhere the next time it is looked up (DNS
rebinding), so the transports here look it up themselves for each new request, and connect to the address they judged.
Needs httpx (`aiadmin-core[http]`).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpx

REFUSED = "it has an address that is not public"


def is_public(address: str) -> bool:
    """Whether an address, as the system writes it, is one that anybody on the internet can reach. Pure."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or found
    return inner.is_global and not inner.is_multicast


def look_up(host: str) -> list[str]:
    """Its addresses, the one to try first in front. Raises `OSError`, `UnicodeError`."""
    return _addresses(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))


class PublicTransport(httpx.HTTPTransport):
    """Raises `httpx.ConnectError` for a host with an address that is not public."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            found = look_up(request.url.host)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error), request=request) from None
        return super().handle_request(pinned(request, found))


class AsyncPublicTransport(httpx.AsyncHTTPTransport):
    """The same, for an event loop."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        try:
            found = _addresses(await loop.getaddrinfo(request.url.host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error), request=request) from None
        return await super().handle_async_request(pinned(request, found))


def _addresses(entries: Iterable[tuple[Any, ...]]) -> list[str]:
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def pinned(request: httpx.Request, addresses: list[str]) -> httpx.Request:
    """`request` to the first of `addresses`; the Host header and the certificate's name stay the host's. Raises
    `httpx.ConnectError` where one of them is not public."""
    if not addresses or not all(map(is_public, addresses)):
        raise httpx.ConnectError(REFUSED, request=request)
    return httpx.Request(
        request.method,
        request.url.copy_with(host=addresses[0]),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
