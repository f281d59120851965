"""The engine that forwards: one request to one upstream at a time, its stream back as events.

Used from one event loop, which owns all its state. A request that has given nothing out yet goes on to another upstream
when one fails; one that has ends in `Failed`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

import httpx
import msgspec
from msgspec.structs import replace

from aiadmin_core import route
from aiadmin_core.errors import AiAdminError, UnsupportedParameter
from aiadmin_core.public import AsyncPublicTransport
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Event, Failed, Finished
from aiadmin_core.specs.model import EngineStats, ModelFacts, ModelSpec
from aiadmin_core.specs.request import GenerateRequest
from aiadmin_core.specs.sampling import SamplingParams

from .answer import UpstreamAnswer
from .failures import StreamBroken, Unavailable, give_up, in_words, read_error, refused
from .pool import Pool
from .remote import RemoteModel, headers
from .request import to_openai
from .routing import Upstream
from .sse import EventStreamReader
from .tokens import Ask, Told, tokens_of_prompt, tokens_of_text

CAPABILITIES = Capabilities(
    inputs=frozenset({"chat", "text", "tokens"}),
    modalities=frozenset({"text", "image", "audio"}),
    sampling=frozenset(SamplingParams.__struct_fields__) - {"max_tokens", "stop", "logprobs"},
    constraints=frozenset({"json_object", "json_schema", "regex", "choice", "lark"}),
    max_choices=128,
    max_logprobs=20,
    scores_prompts=True,
    tools=True,
    reasoning=True,
    suffix=True,
    cached_tokens=True,
    forwards_unknown=True,
    protocols=frozenset({"tokenize"}),
)
"""All of it: what an upstream lacks, it refuses itself."""

_NO_SUCH_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
CHECK_TIMEOUT_S = 5.0
DRAIN_S = 0.25
"""How long the end of a response is waited for once the answer is complete: a connection read to its end is kept."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Of a response that is no event stream."""
KEEPALIVE_S = 2.0
"""Uvicorn and cpp-httplib close idle connections after 5 seconds; a request must not meet one that is closing."""

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEPALIVE_S)


class OpenAIEngine:
    """One model, on one or more upstreams."""

    def __init__(self, remote: RemoteModel, model: ModelSpec, *, key: str, facts: ModelFacts) -> None:
        """`model`: what its manifest says. Its system message and stop strings are sent along where a request has
        none; a chat template cannot be."""
        self.capabilities = CAPABILITIES
        self.facts = facts
        self._own_notes = facts.notes
        self.pool = Pool(remote.upstreams, name=model.name, probe=self._probe, changed=self._note)
        self._remote = remote
        self._key = key
        self._name = model.name
        self._system = model.system
        stop = model.parameters.get("stop")
        self._stop = (stop,) if isinstance(stop, str) else tuple(map(str, stop)) if isinstance(stop, list) else ()
        self._client = httpx.AsyncClient(
            headers=headers(key),
            timeout=httpx.Timeout(remote.read_timeout_s, connect=remote.connect_timeout_s, pool=None),
            limits=LIMITS,
            transport=AsyncPublicTransport(limits=LIMITS) if remote.public_only else None,
        )
        self._responses: set[httpx.Response] = set()
        self._counted = EngineStats()
        self._closed = False

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """Raises what the upstream answered instead of serving, or `UpstreamUnavailable`."""
        path, body = to_openai(
            request,
            model=self._remote.model,
            max_tokens_field=self._remote.max_tokens_field,
            system=self._system,
            stop=self._stop,
        )
        content = msgspec.json.encode(body)
        failures: list[Unavailable] = []
        n_open = request.n
        try:
            while not self._closed and (step := self.pool.next_try(failures)):
                upstream, wait_s = step
                if wait_s:  # and nothing else between choosing and counting: two requests must not choose the same
                    await asyncio.sleep(wait_s)
                try:
                    async with aclosing(self._ask(upstream, path, content, request)) as events:
                        async for event in events:
                            if isinstance(event, Finished | Failed):
                                n_open = 0 if event.choice is None else n_open - 1
                                self._count(event)
                            yield event
                        return
                except Unavailable as failure:
                    failures.append(failure)
                    self.pool.failed(upstream, failure)
        except (GeneratorExit, asyncio.CancelledError):
            if n_open:
                self._counted = replace(self._counted, n_cancelled=self._counted.n_cancelled + 1)
            raise
        raise give_up(self._name, failures)

    async def tokenize(self, input: str | GenerateRequest, *, special: bool = False, around: bool = False) -> list[int]:
        """As the upstream tells them. Raises `UnsupportedParameter` where it does not, and what `generate` raises."""
        model = self._remote.model
        if isinstance(input, str):
            return await self._told(lambda url: tokens_of_text(url, model, input, special=special, around=around))
        return await self._told(lambda url: tokens_of_prompt(url, model, input, self._system))

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:  # noqa: ARG002 - whichever they are
        """Nobody tells the bytes of a token that is no whole character. Raises `UnsupportedParameter`."""
        raise UnsupportedParameter("model", why="the server behind this model does not tell the bytes of its tokens.")

    async def _told(self, talk: Callable[[str], Generator[Ask, Told, list[int]]]) -> list[int]:
        """What a conversation with one upstream comes to, or with the next where that fails."""
        failures: list[Unavailable] = []
        while not self._closed and (step := self.pool.next_try(failures)):
            upstream, wait_s = step
            if wait_s:
                await asyncio.sleep(wait_s)
            upstream.n_active += 1
            upstream.n_started += 1
            try:
                asking, told = talk(upstream.url), None
                while True:
                    told = await self._post(upstream, *asking.send(told))
            except StopIteration as done:
                self.pool.answered(upstream)
                found: list[int] = done.value
                return found
            except Unavailable as failure:
                failures.append(failure)
                self.pool.failed(upstream, failure)
            finally:
                upstream.n_active -= 1
        raise give_up(self._name, failures)

    async def _post(self, upstream: Upstream, url: str, body: dict[str, Any]) -> Told:
        """The JSON object that is answered; None where there is no such path. Raises `Unavailable`, or a refusal."""
        try:
            response = await self._client.post(url, content=msgspec.json.encode(body), headers=route.headers())
        except httpx.HTTPError as error:
            raise Unavailable(upstream.url, in_words(error)) from None
        if response.status_code in _NO_SUCH_PATH and not _names_a_model(response.content):
            return None
        if not response.is_success:
            retry_after = response.headers.get("retry-after")
            raise refused(
                upstream.url, response.status_code, response.content, retry_after=retry_after, secret=self._key
            )
        try:
            return msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError:
            return None

    def stats(self) -> EngineStats:
        """Running are the requests an upstream has accepted, waiting those it has not answered yet."""
        n_running = len(self._responses)
        n_active = sum(upstream.n_active for upstream in self.pool.upstreams)
        return replace(self._counted, n_running=n_running, n_waiting=max(0, n_active - n_running))

    async def close(self) -> None:
        """Requests that are running end in `Failed`."""
        self._closed = True
        await self.pool.close()
        for response in list(self._responses):
            await response.aclose()
        await self._client.aclose()

    async def _ask(
        self, upstream: Upstream, path: str, content: bytes, request: GenerateRequest
    ) -> AsyncGenerator[Event, None]:
        """One try. Raises `Unavailable` or a refusal before its first event; afterwards every failure is a `Failed`."""
        answer = UpstreamAnswer(request, upstream.host, secret=self._key)
        begun = False
        upstream.n_active += 1
        upstream.n_started += 1
        try:
            async with aclosing(self._payloads(upstream, path, content)) as payloads:
                async for payload in payloads:
                    for event in answer.read(payload):
                        begun = True
                        yield event
                    if answer.done:
                        break
                if not begun and not answer.complete:
                    raise StreamBroken("it sent no answer")
                self.pool.answered(upstream)
                for event in answer.end():
                    yield event
                with contextlib.suppress(TimeoutError, StreamBroken):
                    async with asyncio.timeout(DRAIN_S):
                        async for _ in payloads:
                            pass
            return
        except StreamBroken as error:
            why = "the model was unloaded" if self._closed else str(error)
            if not begun and not answer.complete:
                raise Unavailable(upstream.url, why) from None
            if not self._closed and not answer.complete:
                self.pool.mark_down(upstream, why)
            last = answer.end(why)
        except AiAdminError as error:
            if not begun:
                raise _worth_another(upstream, error) from None
            last = [Failed(request.id, error.message, error.code, error.status, error.hint, param=error.param)]
        finally:
            upstream.n_active -= 1
        for event in last:
            yield event

    async def _payloads(self, upstream: Upstream, path: str, content: bytes) -> AsyncGenerator[bytes, None]:
        """The data of each server-sent event; a body that is no event stream counts as one.

        Raises what `refused` makes of a response that is no success, and `StreamBroken`. Closing it closes the
        connection.
        """
        try:
            url = upstream.url + path
            async with self._client.stream("POST", url, content=content, headers=route.headers()) as response:
                self._responses.add(response)
                try:
                    if not response.is_success:
                        raise refused(
                            upstream.url,
                            response.status_code,
                            await _body(response),
                            retry_after=response.headers.get("retry-after"),
                            secret=self._key,
                        )
                    if response.headers.get("content-type", "").startswith("application/json"):
                        yield await _body(response)
                        return
                    reader = EventStreamReader()
                    async for piece in response.aiter_bytes():
                        for payload in reader.feed(piece):
                            yield payload
                    for payload in reader.end():
                        yield payload
                finally:
                    self._responses.discard(response)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise StreamBroken(in_words(error)) from None

    async def _probe(self, upstream: Upstream) -> str:
        """The health check: anything but silence and 5xx is an answer."""
        try:
            response = await self._client.get(f"{upstream.url}/models", timeout=CHECK_TIMEOUT_S)
        except httpx.HTTPError as error:
            return in_words(error)
        return f"it answered {response.status_code}" if response.status_code >= 500 else ""

    def _note(self) -> None:
        self.facts = replace(self.facts, notes=(*self._own_notes, *self.pool.notes))

    def _count(self, event: Finished | Failed) -> None:
        if isinstance(event, Failed):
            return
        usage, counted = event.usage, self._counted
        once = event.choice == 0  # the prompt is read once for all choices
        self._counted = replace(
            counted,
            n_prompt_tokens=counted.n_prompt_tokens + usage.prompt_tokens * once,
            n_cached_tokens=counted.n_cached_tokens + (usage.cached_tokens or 0) * once,
            n_completion_tokens=counted.n_completion_tokens + usage.completion_tokens,
        )


def _names_a_model(body: bytes) -> bool:
    """Whether a 404 is about the model, and the path is there."""
    _, code, param = read_error(body)
    return code == "model_not_found" or param == "model"


def _worth_another(upstream: Upstream, error: AiAdminError) -> AiAdminError | Unavailable:
    """An error event that came first: as if it had been the response's status."""
    if error.status < 500 and error.status != 429:
        return error
    return Unavailable(upstream.url, error.message, refusal=error)


async def _body(response: httpx.Response) -> bytes:
    """All of it. Raises `StreamBroken` past `MAX_BODY_BYTES`."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise StreamBroken("its response is too large")
        pieces.append(piece)
    return b"".join(pieces)
