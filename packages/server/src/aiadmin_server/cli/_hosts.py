"""Which hosts in AIADMIN_HOST mean this machine."""

from ..http.origins import is_loopback

EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def is_this_machine(host: str) -> bool:
    """Whether a server that listens there is this machine's own."""
    return host in EVERY_ADDRESS or is_loopback(host)
