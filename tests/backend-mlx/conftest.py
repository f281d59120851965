"""Engines on the tiny and on the real model, and a player that submits requests and gathers what comes back."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.backend import Broken, Ended, Prefilled, Sampled, StepEvent, TokenRequest
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.sampling import SamplingParams

WAIT_S = 120


def model_spec(folder: Path, **changes: Any) -> ModelSpec:
    """The model in `folder`, as the store would describe it."""
    files = tuple(ModelFile(role="model", path=str(path), name=path.name) for path in sorted(folder.iterdir()))
    return ModelSpec(**{"name": "test", "digest": "sha256:0", "format": "safetensors", "files": files, **changes})


class Answer:
    """What came back for one request so far."""

    def __init__(self, request: TokenRequest) -> None:
        self.request = request
        self.events: list[StepEvent] = []
        self.over = threading.Event()
        self.first_token = threading.Event()

    def take(self, event: StepEvent) -> None:
        self.events.append(event)
        if isinstance(event, Sampled):
            self.first_token.set()
        if self.error or len(self.all(Ended)) == self.request.n:
            self.first_token.set()
            self.over.set()

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def tokens(self, choice: int = 0) -> list[int]:
        return [event.token for event in self.all(Sampled) if event.choice == choice]

    @property
    def prefilled(self) -> Prefilled:
        return self.all(Prefilled)[0]

    @property
    def reasons(self) -> dict[int, str]:
        return {event.choice: event.reason for event in self.all(Ended)}

    @property
    def error(self) -> Exception | None:
        return next((event.error for event in self.all(Broken)), None)

    def wait(self) -> "Answer":
        assert self.over.wait(WAIT_S), "no end"
        return self


class Player:
    """Submits requests to one engine. `on_event` is called on the engine thread with each event."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.answers: dict[int, Answer] = {}
        self.steps: list[Sequence[StepEvent]] = []
        self.on_event: Callable[[StepEvent], None] = lambda event: None
        self._ids = itertools.count(1)
        engine.start(self._sink)

    def _sink(self, events: Sequence[StepEvent]) -> None:
        self.steps.append(events)
        for event in events:
            self.on_event(event)
            self.answers[event.request_id].take(event)

    def submit(self, prompt: str | Sequence[int], *, max_tokens: int = 8, n: int = 1, **settings: Any) -> Answer:
        """Greedy unless told otherwise. Settings of `TokenRequest` go there, all others into the sampling; `segments`
        stand in the prompt's place."""
        if isinstance(prompt, str):
            prompt = self.engine.tokenizer.encode(prompt, special=True)
        names = ("matchers", "end_tokens", "priority", "cache_salt", "adapters")
        of_request = {name: settings.pop(name) for name in names if name in settings}
        request = TokenRequest(
            **{
                "id": next(self._ids),
                "prompt": settings.pop("segments", (TokenSegment(tuple(prompt)),)),
                "sampling": SamplingParams(**{"temperature": 0.0, **settings}),
                "max_tokens": max_tokens,
                "n": n,
                "matchers": (None,) * n,
                **of_request,
            }
        )
        answer = self.answers[request.id] = Answer(request)
        self.engine.submit(request)
        return answer

    def ask(self, prompt: str | Sequence[int], **settings: Any) -> Answer:
        """`submit`, and wait for the end."""
        return self.submit(prompt, **settings).wait()

    def text(self, answer: Answer, choice: int = 0) -> str:
        return b"".join(self.engine.tokenizer.piece(token) for token in answer.tokens(choice)).decode(errors="replace")


@pytest.fixture(scope="session")
def describe() -> Callable[..., ModelSpec]:
    """Makes a `ModelSpec` of a folder."""
    return model_spec


@pytest.fixture
def open_player(tiny_mlx: Path) -> Iterator[Callable[..., Player]]:
    """Opens engines of the test's own, on the tiny model unless told otherwise."""
    from aiadmin_mlx.backend import MlxBackend

    players: list[Player] = []

    def open_one(folder: Path = tiny_mlx, **options: Any) -> Player:
        players.append(Player(MlxBackend().open_engine(model_spec(folder), EngineOptions(**options))))
        return players[-1]

    yield open_one
    for player in players:
        player.engine.close()


@pytest.fixture(scope="session")
def tiny(tiny_mlx: Path) -> Iterator[Player]:
    """One engine on the tiny model for all tests that leave no trace in it but cached prefixes."""
    from aiadmin_mlx.backend import MlxBackend

    player = Player(MlxBackend().open_engine(model_spec(tiny_mlx), EngineOptions()))
    yield player
    player.engine.close()


@pytest.fixture(scope="session")
def real(smollm2_mlx: Path) -> Iterator[Player]:
    """One engine on the real model: 7 tokens a second, so ask for little."""
    from aiadmin_mlx.backend import MlxBackend

    player = Player(MlxBackend().open_engine(model_spec(smollm2_mlx), EngineOptions()))
    yield player
    player.engine.close()
