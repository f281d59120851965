"""Drives a `TokenEngine` from a test: submits requests, gathers what its thread gives, waits for it."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..backend import Broken, Ended, Prefilled, Sampled, StepEvent, TokenEngine, TokenRequest
from ..specs.prompt import Prompt, TokenSegment
from ..specs.sampling import SamplingParams

Kind = TypeVar("Kind", bound=StepEvent)

WAIT_S = 120
"""For an answer. The slowest model here takes seconds."""


@dataclass
class AnsweredChoice:
    """What one choice got so far."""

    tokens: list[int] = field(default_factory=list)
    sampled: list[Sampled] = field(default_factory=list)
    reason: str = ""
    n_tokens: int = 0
    end_token: int | None = None


class Asked:
    """A request under way, and everything its sink was told."""

    def __init__(self, request: TokenRequest) -> None:
        self.request = request
        self.events: list[StepEvent] = []
        self.prefilled: Prefilled | None = None
        self.choices: dict[int, AnsweredChoice] = {}
        self.error: Exception | None = None
        self.first_token = threading.Event()
        """Set too where the end came first."""
        self.over = threading.Event()

    @property
    def id(self) -> int:
        return self.request.id

    @property
    def done(self) -> bool:
        return self.over.is_set()

    @property
    def tokens(self) -> list[int]:
        """Of the first choice."""
        return self.choices[0].tokens if 0 in self.choices else []

    @property
    def reasons(self) -> dict[int, str]:
        """Why each choice that has ended did."""
        return {number: choice.reason for number, choice in self.choices.items() if choice.reason}

    def all(self, kind: type[Kind]) -> list[Kind]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def wait(self) -> "Asked":
        """Until every choice has ended, or the request has failed."""
        assert self.over.wait(WAIT_S), "no end"
        return self

    def take(self, event: StepEvent) -> None:
        """On the engine's thread."""
        self.events.append(event)
        match event:
            case Prefilled():
                self.prefilled = event
            case Broken():
                self.error = event.error
            case Sampled():
                choice = self.choices.setdefault(event.choice, AnsweredChoice())
                choice.tokens.append(event.token)
                choice.sampled.append(event)
                self.first_token.set()
            case Ended():
                choice = self.choices.setdefault(event.choice, AnsweredChoice())
                choice.reason, choice.n_tokens, choice.end_token = event.reason, event.n_tokens, event.token
        if self.error is not None or len(self.reasons) == self.request.n:
            self.first_token.set()
            self.over.set()


class Driver:
    """Starts an engine and asks it things. Greedy, unless a request says otherwise."""

    def __init__(self, engine: TokenEngine, *, max_tokens: int = 16, end_tokens: frozenset[int] | None = None) -> None:
        """`max_tokens` and `end_tokens` are those of requests that name none; None takes the tokenizer's."""
        self.engine: Any = engine
        self.steps: list[list[StepEvent]] = []
        self.on_event: Callable[[StepEvent], None] = lambda _: None
        """Called on the engine's thread with each event, before anybody else sees it."""
        self._max_tokens = max_tokens
        self._end_tokens = engine.tokenizer.end_tokens if end_tokens is None else end_tokens
        self.asked: dict[int, Asked] = {}
        """By id."""
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        engine.start(self._on_step)

    def encode(self, text: str) -> list[int]:
        """The tokens of `text`, in which control tokens are recognised."""
        tokens: list[int] = self.engine.tokenizer.encode(text, special=True)
        return tokens

    def chat(self, text: str) -> list[int]:
        """A user's message as ChatML writes it."""
        return self.encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")

    def text(self, tokens: Sequence[int]) -> str:
        """What `tokens` say."""
        return b"".join(map(self.engine.tokenizer.piece, tokens)).decode("utf-8", "replace")

    def submit(
        self, prompt: str | Sequence[int], *, n: int = 1, segments: Prompt | None = None, **options: Any
    ) -> Asked:
        """Ask, and go on. `segments` stand in the prompt's place; `options` are fields of `TokenRequest` by name, all
        others of `SamplingParams`."""
        tokens = self.encode(prompt) if isinstance(prompt, str) else prompt
        given = {name: options.pop(name) for name in TokenRequest.__dataclass_fields__ if name in options}
        sampling = SamplingParams(**{"temperature": 0.0, **options})
        fields = {
            "prompt": segments if segments is not None else (TokenSegment(tuple(tokens)),),
            "max_tokens": self._max_tokens,
            "matchers": (None,) * n,
            "end_tokens": frozenset() if sampling.ignore_eos else self._end_tokens,
        }
        request = TokenRequest(**{"id": next(self._ids), "sampling": sampling, "n": n, **fields, **given})
        asked = self.asked[request.id] = Asked(request)
        self.engine.submit(request)
        return asked

    def run(self, prompt: str | Sequence[int], **options: Any) -> Asked:
        """`submit`, and wait for the end."""
        return self.submit(prompt, **options).wait()

    def wait(self, *asked: Asked) -> None:
        """Until all of them are over."""
        for one in asked:
            one.wait()

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a step after which `happened()`."""
        with self._changed:
            assert self._changed.wait_for(happened, WAIT_S), "the engine did not get there"

    def _on_step(self, events: Sequence[StepEvent]) -> None:
        with self._changed:
            self.steps.append(list(events))
            for event in events:
                self.on_event(event)
                self.asked[event.request_id].take(event)
            self._changed.notify_all()
