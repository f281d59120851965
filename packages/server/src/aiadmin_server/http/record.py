"""The request log, `aiadmin.requests`: one line at info when a request has ended, whatever became of it.

`middleware` begins a `Record` for each request and tells it at the end; in between, whoever learns something of the
request writes it down: the door who asks, `serving` what the model made of it. What was said is never in it.
"""

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from aiadmin_core.specs.events import Usage

LOG = logging.getLogger("aiadmin.requests")
MAX_CHARS = 200
"""Of a path or name that a client chose."""


@dataclass(kw_only=True, slots=True)
class Record:
    """What is known of one request. Times are in seconds, from when its head had come. None is not known, or has not
    happened."""

    id: str = "-"
    method: str = ""
    endpoint: str = ""
    """The path, as it was asked for."""
    who: str | None = None
    """A plugin's name for who asks."""
    asked: str = ""
    """The name of the model that was asked for."""
    model: str = ""
    """The model behind it, from when it is leased."""
    status: int = 499
    """As it was sent; 499 before that, and where the client has left."""
    has_left: bool = False
    """The client did not wait for the end."""
    error: str = ""
    """The code of what went wrong, within a stream as well."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    leased_s: float | None = None
    queued_s: float = 0.0
    """At the engine; the longest, where there are several requests to it."""
    first_token_s: float | None = None
    _begun_at: float = field(default_factory=time.perf_counter)

    def leased(self, model: str) -> None:
        """The model is there."""
        self.model, self.leased_s = model, self._now()

    def read(self, n_prompt: int, n_cached: int | None) -> None:
        """A prompt has been read."""
        self.prompt_tokens = (self.prompt_tokens or 0) + n_prompt
        if n_cached is not None:
            self.cached_tokens = (self.cached_tokens or 0) + n_cached

    def answering(self) -> None:
        """The first token has come."""
        self.first_token_s = self._now()

    def finished(self, usage: Usage) -> None:
        """A choice has."""
        self.completion_tokens = (self.completion_tokens or 0) + usage.completion_tokens
        self.queued_s = max(self.queued_s, usage.queue_s)

    def tell(self) -> None:
        """The request has ended."""
        if LOG.isEnabledFor(logging.INFO):
            fields = self._fields()
            text = " ".join(f"{name}={_plain(value)}" for name, value in fields.items())
            LOG.info("%s", text, extra={"fields": fields})

    def _fields(self) -> dict[str, Any]:
        fields = {
            "id": self.id,
            "who": self.who,
            "model": self.model or self.asked[:MAX_CHARS] or None,
            "endpoint": f"{self.method} {self.endpoint[:MAX_CHARS]}",
            "status": 499 if self.has_left else self.status,
            "error": self.error or None,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "queue_s": None if self.leased_s is None else self.leased_s + self.queued_s,
            "first_token_s": self.first_token_s,
            "total_s": self._now(),
        }
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}

    def _now(self) -> float:
        return time.perf_counter() - self._begun_at


def _plain(value: object) -> str:
    """A value in a line of text: quoted where it could be taken for something else, or for the end of the line."""
    text = "-" if value is None else str(value)
    return text if text.isprintable() and not any(mark in text for mark in ' "=') else ascii(text)
