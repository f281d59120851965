"""What handlers say of their bodies, for the OpenAPI document."""

from typing import Any


def described(
    request: type[Any] | None = None, response: type[Any] | None = None, *, event: type[Any] | None = None
) -> dict[str, Any]:
    """A handler's `opt`: the type it reads its body as, what it answers, and what each event of a stream is."""
    return {"request": request, "response": response, "event": event}
