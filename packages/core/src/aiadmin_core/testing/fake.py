"""A token engine without a model: scripted tokens, a step at a time, on a thread of its own. For tests of what stands
on top of a `TokenEngine`."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..backend import Broken, Ended, Prefilled, PromptRows, Sampled, StepEvent, TokenRequest
from ..errors import AiAdminError
from ..specs.capabilities import Capabilities
from ..specs.model import EngineStats, ModelFacts
from ..specs.prompt import TokenSegment
from ..text.chat_template import CHATML

END, BOS, START_OF_TURN = 256, 257, 258
"""Of `ByteTokenizer`: <|im_end|>, <|endoftext|>, <|im_start|>."""


class ByteTokenizer:
    """A token for each byte, and a few control tokens."""

    def __init__(
        self,
        *,
        chat_template: str | None = CHATML,
        add_bos: bool = False,
        more_control_tokens: Sequence[str] = (),
        infill: tuple[int, int, int] | None = None,
    ) -> None:
        self.infill = infill
        texts = ("<|im_end|>", "<|endoftext|>", "<|im_start|>", *more_control_tokens)
        self.control_tokens: Mapping[str, int] = {text: 256 + index for index, text in enumerate(texts)}
        self.n_vocab = 256 + len(texts)
        self.bos: int | None = BOS
        self.eos: int | None = END
        self.add_bos = add_bos
        self.end_tokens = frozenset({END})
        self.chat_template = chat_template

    def encode(self, text: str, *, special: bool) -> list[int]:
        tokens: list[int] = []
        raw = text.encode()
        position = 0
        while position < len(raw):
            known = next((t for t in self.control_tokens if special and raw.startswith(t.encode(), position)), None)
            tokens.append(raw[position] if known is None else self.control_tokens[known])
            position += 1 if known is None else len(known.encode())
        return tokens

    def encode_whole(self, text: str) -> list[int]:
        return [*([BOS] if self.add_bos else []), *self.encode(text, special=False)]

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def constraint_vocabulary(self) -> Any:
        from llguidance import LLTokenizer, TokenizerWrapper  # heavy

        return LLTokenizer(TokenizerWrapper(_Vocabulary(self)), n_vocab=self.n_vocab, eos_token=[END])


class _Vocabulary:
    """`ByteTokenizer` as llguidance reads one."""

    def __init__(self, tokenizer: ByteTokenizer) -> None:
        self.eos_token_id = END
        self.bos_token_id = BOS
        self.tokens = [bytes([token]) for token in range(256)] + [text.encode() for text in tokenizer.control_tokens]
        self.special_token_ids = list(tokenizer.control_tokens.values())

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


Script = Callable[[TokenRequest, int], Sequence[int]]
"""The tokens of a request's choice; after the last one comes the end token."""


def says(text: str) -> Script:
    """The same text for everybody."""
    return lambda _request, _choice: list(text.encode())


def babbles(request: TokenRequest, choice: int) -> list[int]:
    """Words drawn with the request's seed: a model that listens to nothing else."""
    draw = random.Random(f"{request.sampling.seed}:{choice}")  # noqa: S311 - words, not secrets
    return list(" ".join(draw.choice(_WORDS) for _ in range(draw.randint(150, 200))).encode())


def _nobody(_events: Sequence[StepEvent]) -> None:
    """The sink before `start`."""


_WORDS = "one two three four five six seven eight nine ten zwölf 十二 🙂 and or of".split()  # noqa: SIM905 - a list of sixteen would not fit a line
_PREFERRED = [END, *b'}"]:{,0123456789-', *range(256)]
"""What is taken under a mask that forbids the scripted token: whatever closes soonest."""


@dataclass
class _Sequence:
    request: TokenRequest
    choice: int
    script: Iterator[int]
    n_tokens: int = 0


_FACTS = ModelFacts(architecture="fake", n_ctx=4096, n_vocab=259)
_CAPABILITIES = Capabilities(
    inputs=frozenset({"text", "tokens"}),
    sampling=frozenset({"seed", "temperature", "ignore_eos", "logit_bias", "top_p"}),
    max_choices=4,
    max_logprobs=5,
    scores_prompts=True,
    cached_tokens=True,
)


@dataclass
class FakeTokenEngine:
    """A `TokenEngine` whose choices follow `script`, one token a step.

    The thread steps whenever there is work; with `manual` set, a test calls `step` itself. Every call of the API is
    recorded. With `fault`, each request is `Broken` by it after its first token.
    """

    tokenizer: ByteTokenizer = field(default_factory=ByteTokenizer)
    script: Script = babbles
    facts: ModelFacts = _FACTS
    capabilities: Capabilities = _CAPABILITIES
    manual: bool = False
    fault: Exception | None = None

    def __post_init__(self) -> None:
        self.submitted: list[TokenRequest] = []
        self.cancelled: list[tuple[int, int | None]] = []
        self.n_steps = 0
        self.closed = False
        self._sink: Callable[[Sequence[StepEvent]], None] = _nobody
        self._waiting: list[TokenRequest] = []
        self._running: list[_Sequence] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self, sink: Callable[[Sequence[StepEvent]], None]) -> None:
        self._sink = sink
        if not self.manual:
            self._thread = threading.Thread(target=self._run, name="fake-engine", daemon=True)
            self._thread.start()

    def submit(self, request: TokenRequest) -> None:
        with self._changed:
            self.submitted.append(request)
            self._waiting.append(request)
            self._changed.notify()

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        with self._changed:
            self.cancelled.append((request_id, choice))
            self._waiting = [request for request in self._waiting if request.id != request_id]
            self._running = [
                sequence
                for sequence in self._running
                if sequence.request.id != request_id or (choice is not None and sequence.choice != choice)
            ]

    def stats(self) -> EngineStats:
        with self._changed:
            return EngineStats(n_running=len(self._running), n_waiting=len(self._waiting), n_steps=self.n_steps)

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def step(self) -> None:
        """Admit what waits, and sample one token of every sequence."""
        with self._changed:
            events: list[StepEvent] = []
            for request in self._waiting:
                prompt = [t for segment in request.prompt if isinstance(segment, TokenSegment) for t in segment.tokens]
                n_prompt = len(prompt)
                if request.score_prompt and n_prompt > 1:
                    tops = tuple(self._top(request, token) for token in prompt[1:])
                    events.append(PromptRows(request.id, (-0.5,) * len(tops), tops))
                events.append(Prefilled(request.id, n_prompt, 0, 0.0, 0.0))
                self._running.extend(
                    _Sequence(request, choice, iter(self.script(request, choice))) for choice in range(request.n)
                )
            self._waiting = []
            for sequence in list(self._running):
                events.extend(self._decode(sequence))
            self.n_steps += 1
        if events:
            self._sink(events)

    def _decode(self, sequence: _Sequence) -> list[StepEvent]:
        request, choice = sequence.request, sequence.choice
        if not request.max_tokens:
            self._running.remove(sequence)
            return [Ended(request.id, choice, "length", 0.0, 0)]
        if self.fault is not None and sequence.n_tokens:
            self._running.remove(sequence)
            return [Broken(request.id, self.fault)]
        try:
            token = self._sample(sequence)
        except AiAdminError as error:  # a matcher that cannot go on
            self._running.remove(sequence)
            return [Broken(request.id, error)]
        sequence.n_tokens += 1
        if token in request.end_tokens:
            self._running.remove(sequence)
            return [Ended(request.id, choice, "stop", 0.0, sequence.n_tokens, token)]
        events: list[StepEvent] = [Sampled(request.id, choice, token, -0.5, self._top(request, token))]
        if sequence.n_tokens >= request.max_tokens:
            self._running.remove(sequence)
            events.append(Ended(request.id, choice, "length", 0.0, sequence.n_tokens))
        return events

    def _sample(self, sequence: _Sequence) -> int:
        wanted = next(sequence.script, END if sequence.request.end_tokens else ord(" "))
        matcher = sequence.request.matchers[sequence.choice]
        if matcher is None:
            return wanted
        mask = matcher.mask()
        if mask is not None:
            allowed = (token for token in (wanted, *_PREFERRED) if int(mask[token // 32]) >> (token % 32) & 1)
            wanted = next(allowed)
        matcher.commit(wanted)
        return wanted

    def _top(self, request: TokenRequest, token: int) -> tuple[tuple[int, float], ...]:
        n = request.sampling.logprobs or 0
        return tuple(((token + offset) % 256, -0.5 - offset) for offset in range(n))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.closed or self._waiting or self._running)
                if self.closed:
                    return
            self.step()
