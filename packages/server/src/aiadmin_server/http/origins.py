"""Which Host and Origin headers are taken: pure. Used by `middleware` and `app`."""

import ipaddress
import re
import socket

DEFAULT_ORIGINS = (
    r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?"
    r"|(app|file|tauri|vscode-webview|vscode-file)://.*"
    r"|(chrome|moz|safari-web)-extension://.*"
)
"""Pages of this machine, desktop apps and browser extensions: a regular expression."""

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_allowed(header: str) -> bool:
    """Whether a Host header may come to a server on a loopback address: names of this machine and private addresses.

    A public name that resolves to 127.0.0.1 is what DNS rebinding uses.
    """
    name = _host_name(header)
    if name in ("", "localhost", socket.gethostname().lower()) or name.endswith(_LOCAL_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def origin_allowed(origin: str, *, host: str, extra: tuple[str, ...]) -> bool:
    """Whether pages of `origin` may use a server that was addressed as `host`.

    `extra` holds more origins (`https://app.example:8443`, `*` in places or alone).
    """
    if re.fullmatch(DEFAULT_ORIGINS, origin, re.IGNORECASE):
        return True
    if origin.lower().partition("://")[2] == host.lower() != "":  # a page that this server has sent itself
        return True
    return any(re.fullmatch(pattern_of(allowed), origin, re.IGNORECASE) for allowed in extra)


def pattern_of(origin: str) -> str:
    """A regular expression for an origin with `*` in it."""
    return ".*".join(re.escape(piece) for piece in origin.split("*"))


def _host_name(header: str) -> str:
    """The Host header without its port, in lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()
