"""The upstreams of one model, and what is known of their health. Owned by an engine, on one event loop.

Requests tell which of them fail (passive); one that is down is asked in the background, at growing intervals, until it
answers (active). Upstreams that are well are never asked.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from .failures import Unavailable
from .routing import Upstream, next_try

BUSY_REST_S = 1.0
"""How long one that is busy, and did not say for how long, is left alone where there are others."""

log = logging.getLogger(__name__)


class Pool:
    """Says which upstream to ask next, and learns from what came of it."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        probe: Callable[[Upstream], Awaitable[str]],
        changed: Callable[[], None],
    ) -> None:
        """`name`: the model's, for the log. `probe` says what is wrong with an upstream, "" where it answers.
        `changed` is called when `notes` may have."""
        self.upstreams = [Upstream(url=url) for url in urls]
        self._name = name
        self._probe = probe
        self._changed = changed
        self._watches: dict[str, asyncio.Task[None]] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for each upstream that is down."""
        return tuple(f"upstream {one.host} is down: {one.last_error}" for one in self.upstreams if one.down)

    def next_try(self, failures: Sequence[Unavailable]) -> tuple[Upstream, float] | None:
        """Whom to ask after these failures, and the seconds to wait first. Starts the background checks that are due
        to start."""
        for upstream in self.upstreams:
            if upstream.down and upstream.url not in self._watches:
                self._watches[upstream.url] = asyncio.create_task(self._watch(upstream))
        return next_try(self.upstreams, failures, time.monotonic())

    def answered(self, upstream: Upstream) -> None:
        """A request was answered."""
        was_down = upstream.down
        upstream.answered()
        if was_down:
            self._up(upstream)

    def failed(self, upstream: Upstream, failure: Unavailable) -> None:
        """A request was not."""
        if failure.retry_after_s is not None or failure.refusal is not None:
            rest_s = BUSY_REST_S if failure.retry_after_s is None else failure.retry_after_s
            upstream.rest_until = time.monotonic() + rest_s
        else:
            self.mark_down(upstream, failure.reason)

    def mark_down(self, upstream: Upstream, reason: str) -> None:
        """Set it aside. May be called before there is an event loop."""
        if not upstream.down:
            log.warning("%s: upstream %s is down: %s", self._name, upstream.host, reason)
        upstream.failed(reason, time.monotonic())
        self._changed()

    async def close(self) -> None:
        """Stop asking."""
        watches = list(self._watches.values())
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def _watch(self, upstream: Upstream) -> None:
        """Until it answers: a check here, or a request that was let through meanwhile."""
        try:
            while upstream.down:
                wait_s = upstream.check_at - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)  # a request may fail meanwhile, and put the check off
                elif reason := await self._probe(upstream):
                    upstream.failed(reason, time.monotonic())
                    self._changed()
                elif upstream.down:
                    upstream.reachable()
                    self._up(upstream)
        finally:
            del self._watches[upstream.url]

    def _up(self, upstream: Upstream) -> None:
        log.info("%s: upstream %s answers again", self._name, upstream.host)
        self._changed()
