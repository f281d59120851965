"""Chunks of an upstream's stream -> events of one request. No I/O; the engine makes one for each try.

An upstream reports the usage of all choices together, after the last of them: so `Finished` comes at the end of the
stream, and the sum is divided among the choices by their deltas.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.specs import events
from aiadmin_core.specs.events import Event, Failed, Finished, FinishReason, ReasoningDelta, TextDelta, ToolCallDelta
from aiadmin_core.specs.request import GenerateRequest

from . import wire
from .failures import StreamBroken, UpstreamError, reported

DONE = b"[DONE]"

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_FAILURES = {"abort", "error"}
"""Finish reasons of vLLM, SGLang and OpenRouter for a choice that did not finish."""

_BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)")

_decoder = msgspec.json.Decoder(wire.Chunk)


@dataclass(kw_only=True)
class _Choice:
    reason: str | None = None
    stop: str | None = None
    n_deltas: int = 0
    calls: dict[int, str | None] = field(default_factory=dict)
    """Ids of its tool calls by index, in the order they began."""


class UpstreamAnswer:
    """One request as one upstream answers it."""

    def __init__(
        self, request: GenerateRequest, host: str, *, secret: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._request = request
        self._host = host
        self._secret = secret
        self._clock = clock
        self._choices = [_Choice() for _ in range(request.n)]
        self._usage = wire.Usage()
        self._asked_at = clock()
        self._first_at: float | None = None
        self.done = False
        """The upstream said so."""

    @property
    def complete(self) -> bool:
        """Every choice has its finish reason."""
        return all(choice.reason for choice in self._choices)

    def read(self, payload: bytes) -> list[Event]:
        """The events of one chunk.

        Raises `StreamBroken` where it is none, and an `AiAdminError` where it is an error object.
        """
        if payload == DONE:
            self.done = True
            return []
        try:
            chunk = _decoder.decode(payload)
            if chunk.error or chunk.object == "error":
                raise reported(msgspec.json.decode(payload), secret=self._secret)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StreamBroken(f"it sent what is no chunk ({error})") from None
        self._usage = chunk.usage or self._usage
        found: list[Event] = []
        for choice in chunk.choices or ():
            if not 0 <= choice.index < len(self._choices):
                raise StreamBroken(f"it sent choice {choice.index} of {len(self._choices)}")
            found += self._read_choice(choice)
        if found and self._first_at is None:
            return self._started() + found
        return found

    def end(self, why: str = "it ended the stream before the answer was complete") -> list[Event]:
        """The last events: `Finished` for each choice that has a finish reason, `Failed` for the others."""
        total = self._usage.completion_tokens
        weights = [choice.n_deltas for choice in self._choices]
        # Without usage, deltas are counted: most servers send one for each token.
        shares = weights if total is None else share(total, weights)
        reasoning = self._usage.completion_tokens_details
        thought = share((reasoning and reasoning.reasoning_tokens) or 0, weights)
        last = self._started() if any(choice.reason for choice in self._choices) else []
        for index, choice in enumerate(self._choices):
            if choice.reason is None or choice.reason in _FAILURES:
                reason = why if choice.reason is None else f"it gave up ('{choice.reason}')"
                last.append(self._failed(reason, index if len(self._choices) > 1 else None))
            else:
                usage = self._usage_of(shares[index], thought[index])
                kind = _REASONS.get(choice.reason, "stop")
                last.append(Finished(self._request.id, kind, usage, choice=index, stop=choice.stop))
        return last

    def _started(self) -> list[Event]:
        """Once; nothing where the upstream has not counted the prompt yet, as most have not."""
        if self._first_at is not None:
            return []
        self._first_at = self._clock()
        if self._usage.prompt_tokens is None:
            return []
        usage = self._usage_of(0, 0)
        return [events.Started(self._request.id, usage.prompt_tokens, usage.cached_tokens)]

    def _failed(self, reason: str, choice: int | None) -> Failed:
        message = f"{self._host}, which serves this model, failed: {reason}."
        hint = "What was received so far is not the whole answer; try again."
        return Failed(self._request.id, message, UpstreamError.code, UpstreamError.status, hint, choice)

    def _read_choice(self, chunk: wire.ChunkChoice) -> list[Event]:
        state = self._choices[chunk.index]
        request_id, index = self._request.id, chunk.index
        if self._request.score_prompt:
            return self._read_scored(state, chunk)
        delta = chunk.delta or chunk.message or wire.Delta(content=chunk.text)
        thought = delta.reasoning_content or (delta.reasoning if isinstance(delta.reasoning, str) else "")
        text = (delta.content or "") + (delta.refusal or "")
        logprobs = _logprobs(chunk.logprobs)
        found: list[Event] = []
        if thought:
            found.append(ReasoningDelta(request_id, thought, index, () if text else logprobs))
        if text or (logprobs and not thought):
            found.append(TextDelta(request_id, text, index, logprobs))
        found += [self._read_call(state, call, index) for call in delta.tool_calls or ()]
        state.n_deltas += len(found)
        if chunk.finish_reason:
            state.reason = chunk.finish_reason
            state.stop = chunk.stop_reason if chunk.stop_reason in self._request.sampling.stop else None
        return found

    def _read_scored(self, state: _Choice, chunk: wire.ChunkChoice) -> list[Event]:
        """A whole choice that begins with its prompt, whose tokens the usage has counted."""
        tokens, n_prompt = _logprobs(chunk.logprobs), self._usage.prompt_tokens
        values = (chunk.logprobs.token_logprobs if chunk.logprobs else None) or [0.0]
        if n_prompt is None or not 0 < n_prompt <= len(tokens) or values[0] is not None:  # nothing is before the first
            raise UnsupportedParameter("score_prompt", why=f"{self._host}, which serves this model, does not do it.")
        state.reason = chunk.finish_reason or "length"
        found: list[Event] = []
        if chunk.index == 0:
            prompt = [events.PromptToken(one.token, one.bytes, one.logprob, one.top) for one in tokens[:n_prompt]]
            first = events.PromptToken(prompt[0].token, prompt[0].bytes)
            found = [events.PromptScored(self._request.id, (first, *prompt[1:])), *self._started()]
        answered = () if self._request.reads_only else tokens[n_prompt:]
        state.n_deltas = len(answered)
        if answered:
            text = b"".join(one.bytes for one in answered).decode("utf-8", "replace")
            found.append(TextDelta(self._request.id, text, chunk.index, answered))
        return found

    def _read_call(self, state: _Choice, call: wire.ToolCall, choice: int) -> ToolCallDelta:
        function = call.function or wire.Function()
        index = call.index
        if index is None:  # some leave it out: a new id is a new call
            known = call.id is None or call.id in state.calls.values()
            index = max(state.calls) if state.calls and known else len(state.calls)
        first = index not in state.calls
        state.calls.setdefault(index, call.id)
        return ToolCallDelta(
            self._request.id,
            index,
            choice,
            call.id if first else None,
            function.name if first else None,
            function.arguments or "",
        )

    def _usage_of(self, completion_tokens: int, reasoning_tokens: int) -> events.Usage:
        details = self._usage.prompt_tokens_details
        now = self._clock()
        first_at = now if self._first_at is None else self._first_at
        return events.Usage(
            prompt_tokens=self._usage.prompt_tokens or 0,
            completion_tokens=completion_tokens,
            cached_tokens=details.cached_tokens if details else None,
            reasoning_tokens=reasoning_tokens,
            prefill_s=first_at - self._asked_at,
            decode_s=now - first_at,
        )


def share(total: int, weights: Sequence[int]) -> list[int]:
    """`total` divided in proportion to `weights`, by largest remainder: the shares sum to `total`."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares


def _logprobs(found: wire.Logprobs | None) -> tuple[events.TokenLogprob, ...]:
    if found is None:
        return ()
    if found.content is not None:
        return tuple(
            events.TokenLogprob(
                item.id,
                _bytes(item),
                item.logprob,
                tuple(events.Alternative(top.id, _bytes(top), top.logprob) for top in item.top_logprobs or ()),
            )
            for item in found.content
        )
    tokens, values = found.tokens or [], found.token_logprobs or []
    tops: list[dict[str, float] | None] = found.top_logprobs or [None] * len(tokens)
    if not len(tokens) == len(values) == len(tops):
        raise StreamBroken("it sent log-probabilities of unequal length")
    return tuple(
        events.TokenLogprob(
            -1,
            _piece(token),
            0.0 if value is None else value,
            tuple(events.Alternative(-1, _piece(text), logprob) for text, logprob in (top or {}).items()),
        )
        for token, value, top in zip(tokens, values, tops, strict=True)
    )


def _bytes(item: wire.Alternative) -> bytes:
    try:
        return item.token.encode() if item.bytes is None else bytes(item.bytes)
    except ValueError:
        raise StreamBroken("it sent a token with bytes above 255") from None


def _piece(token: str) -> bytes:
    """A token of a completion, which tells pieces of characters as `bytes:\\xf0\\x9f`."""
    found = _BYTES.fullmatch(token)
    return bytes.fromhex(found[1].replace("\\x", "")) if found else token.encode()
