"""Which Host and Origin headers are taken: pure. Used by `middleware` and `app`."""

import ipaddress
import re
import socket

DEFAULT_ORIGINS = (
    r"https?://(([a-z0-9_-]+\.)*localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?"
    r"|(app|file|tauri|capacitor|ionic|vscode-webview|vscode-file)://.*"
    r"|(chrome|moz|safari-web)-extension://.*"
)
"""Pages of this machine (every name under `localhost` is: RFC 6761 6.3), apps (`tauri.localhost` is theirs on Windows:
no web site can have that origin) and browser extensions: a regular expression."""

_LOCAL_SUFFIXES = (".localhost", ".internal")
"""Of names that nobody can register, and that a container's host goes by. Not `.local`: any device of the network may
answer for such a name (mDNS), but for this machine's own."""


def is_loopback(address: str) -> bool:
    """Whether a server that listens on `address`, as the system writes it, is reached from this machine only."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def host_allowed(header: str, *, names: tuple[str, ...] = ()) -> bool:
    """Whether a Host header may come to a server on a loopback address: names of this machine, private addresses, and
    `names` (`*.example.org` is every name that ends so).

    A public name that resolves to 127.0.0.1 is what DNS rebinding uses.
    """
    name = host_name(header)
    if name in ("", "localhost", *_own_names()) or name.endswith(_LOCAL_SUFFIXES) or _is_named(name, names):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_private or address.is_unspecified)


def origin_allowed(origin: str, *, host: str, extra: tuple[str, ...], names: tuple[str, ...] = ()) -> bool:
    """Whether pages of `origin` may use a server that was addressed as `host`.

    `extra` holds more origins (`https://app.example:8443`, `*` in places or alone); `names` are the server's own, as
    for `host_allowed`.
    """
    if re.fullmatch(DEFAULT_ORIGINS, origin, re.IGNORECASE):
        return True
    if origin.lower().partition("://")[2] == host.lower() != "" and _is_own(host_name(host), names):
        return True  # a page that this server has sent itself
    return any(re.fullmatch(pattern_of(allowed), origin, re.IGNORECASE) for allowed in extra)


def _is_own(name: str, names: tuple[str, ...]) -> bool:
    """Whether only this server can be what is reached by `name`. Any other name may lead here today, and may have sent
    the page from elsewhere a minute ago (DNS rebinding)."""
    return name in ("localhost", *_own_names()) or _is_named(name, names) or _address(name) is not None


def _is_named(name: str, names: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern_of(known), name, re.IGNORECASE) for known in names)


def _own_names() -> tuple[str, str]:
    """As the system calls itself, and as mDNS does."""
    name = socket.gethostname().lower()
    return name, f"{name.partition('.')[0]}.local"


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def pattern_of(origin: str) -> str:
    """A regular expression for an origin with `*` in it."""
    return ".*".join(re.escape(piece) for piece in origin.split("*"))


def host_name(header: str) -> str:
    """The Host header without its port, in lower case, and without the dot that may end a full name."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    name = header.rpartition(":")[0] if header.count(":") == 1 else header
    return name.lower().removesuffix(".")
