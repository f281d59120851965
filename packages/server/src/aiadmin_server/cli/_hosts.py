"""Which hosts in AIADMIN_HOST mean this machine."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Only this machine reaches a server that listens here."""
THIS_MACHINE = LOOPBACK | {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
"""A server that listens here is this machine's own."""
