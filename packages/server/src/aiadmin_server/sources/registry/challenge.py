"""How a registry says who it wants to hear from: the `WWW-Authenticate` of its 401. Pure.

https://distribution.github.io/distribution/spec/auth/token/
"""

import base64
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import msgspec
from msgspec import Struct


class Challenge(NamedTuple):
    scheme: str
    """`bearer`, `basic`, in lower case; "" for none that can be read."""
    realm: str = ""
    """For `bearer`: where a token is to be had."""
    service: str = ""
    scope: str = ""

    @property
    def token_url(self) -> str:
        asked = urlencode({name: value for name in ("service", "scope") if (value := getattr(self, name))})
        return f"{self.realm}{'&' if urlsplit(self.realm).query else '?'}{asked}" if asked else self.realm


class _Token(Struct):
    token: str = ""
    access_token: str = ""
    """The same, for clients of OAuth."""


_decoder = msgspec.json.Decoder(_Token)


def read_challenge(header: str) -> Challenge:
    scheme, _, rest = header.strip().partition(" ")
    try:
        found = parse_keqv_list([item for item in parse_http_list(rest) if "=" in item])
    except (ValueError, IndexError):
        return Challenge("")
    values = {name.lower(): value for name, value in found.items()}
    return Challenge(
        scheme.lower(), values.get("realm", ""), values.get("service", ""), values.get("scope", "").replace("+", " ")
    )


def read_token(body: bytes) -> str:
    """Raises `ValueError`."""
    found = _decoder.decode(body)
    if token := found.token or found.access_token:
        return token
    raise ValueError("there is no token in it")


def basic(credentials: tuple[str, str]) -> str:
    """The value of `Authorization`: https://www.rfc-editor.org/rfc/rfc7617"""
    return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
