"""What every API tells in its own envelope. Imported where no web framework is."""

from msgspec import Struct


class Problem(Struct, frozen=True, kw_only=True):
    """An error as a client is told."""

    status: int
    message: str
    code: str
    param: str | None = None
    headers: dict[str, str] = {}
    request_id: str = "-"
