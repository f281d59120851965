"""What a backend implements.

A backend opens models. What it opens is one of two levels:

- an `Engine` takes messages and gives events. The server sees nothing else, and a simple backend writes nothing else.
- a `TokenEngine` takes prompt segments and gives tokens. `assemble.assemble` makes an `Engine` of it: chat template,
  tokens, detokenising, stop strings, reasoning, tool calls and constraints are core's, the same on every backend. Its
  thread need not be written either: `engine_thread.EngineThread` runs a `Stepper`, which only decodes.

Tokenise, embed, score and adapters are optional protocols: an engine that implements one names it in
`Capabilities.protocols`.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from .specs.capabilities import Capabilities
from .specs.events import Event
from .specs.model import EngineOptions, EngineStats, ModelFacts, ModelFormat, ModelSpec
from .specs.prompt import Prompt
from .specs.request import Adapter, GenerateRequest
from .specs.sampling import SamplingParams
from .specs.vectors import Scores, Vectors

if TYPE_CHECKING:
    from .sampling.dry import Breakers  # needs numpy: the server does without

API_VERSION = 1
"""Of the hooks and of these protocols. A plugin states the one it was written for as `aiadmin_api_version`."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a file header tells without loading the model; "" and 0 mean unknown."""

    format: ModelFormat
    architecture: str = ""
    n_params: int = 0
    n_ctx_train: int = 0
    n_embd: int = 0
    quantization: str = ""
    chat_template: str | None = None
    metadata: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] | None = None
    """How the file recommends to sample, by the names of `SamplingParams`."""
    is_adapter: bool = False
    """It is no model, but changes one (LoRA)."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """A backend's word on itself, for `aiadmin doctor`."""

    ok: bool
    summary: str
    """One line: library, version, devices."""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes of the machine's memory that a model will take, as far as its files and options tell. 0 is unknown."""

    weights_bytes: int = 0
    cache_bytes: int = 0
    """Of the KV cache at `n_ctx` tokens."""
    compute_bytes: int = 0
    """Scratch memory of a step, and what the process itself takes."""
    n_ctx: int = 0
    is_certain: bool = False
    """The weights lie in the machine's memory and nowhere else: a machine with less cannot serve the model. False
    where a device has memory of its own, and for a guess."""

    @property
    def n_bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes + self.compute_bytes

    def times(self, n: int) -> "MemoryEstimate":
        """Of so many of them."""
        return replace(
            self,
            weights_bytes=n * self.weights_bytes,
            cache_bytes=n * self.cache_bytes,
            compute_bytes=n * self.compute_bytes,
        )


@runtime_checkable
class Backend(Protocol):
    """Opens models of some formats. Made in every process by its plugin's hook: import no native library before
    `open_engine`.

    A class that inherits from this one has `inspect`, `build_id` and `health` as for a backend without files or
    native library.

    One with nothing native in it may set `in_process = True`: its engines need no process of their own, and run in the
    server's.
    """

    name: str
    """Short, `llamacpp`: the prefix that picks this backend in `llamacpp/smollm2`."""

    def suitability(self, model: ModelSpec) -> int | None:
        """How well this backend serves `model` on this machine; None if it cannot. The highest number wins, so that
        the better backend for the machine is chosen: 50 is ordinary, 100 native to the machine (Metal for MLX)."""

    def inspect(self, path: Path) -> ModelInfo | None:  # noqa: ARG002 - what backends without files inherit
        """Read a model's header, or None if the file or folder is of no format this backend knows.

        Raises `errors.BadRequest` where it is of a known format and broken.
        """
        return None

    def build_id(self) -> str:
        """Identifies the native library's build without loading it; "" without one. What is learnt about crashes
        is remembered per build and processor."""
        return ""

    def health(self) -> Health:
        """Whether this backend can work here. May be slow; may start a process; loads nothing into this one."""
        return Health(ok=True, summary="nothing to install")

    def open_engine(self, model: ModelSpec, options: EngineOptions) -> "Engine | TokenEngine":
        """Load `model`, and prove that it decodes: one step of warm-up before returning.

        Called once, in the runner. Raises `errors.ModelLoadFailed`.
        """


@runtime_checkable
class OffersModels(Protocol):
    """Optional for a `Backend`: models of its own that need no files in the store (a remote service, the echo
    example). They are listed and found by name like the store's."""

    def models(self) -> Sequence[ModelSpec]:
        """The models on offer; their `files` are usually empty. Called for most requests: answer from memory."""


@runtime_checkable
class EstimatesMemory(Protocol):
    """Optional for a `Backend`: what a model will take, before it is loaded. Without it, the size of its files counts,
    and nothing where it is `in_process`."""

    def estimate_memory(self, model: ModelSpec, options: EngineOptions) -> MemoryEstimate | None:
        """From headers and configuration alone; None where they do not tell. Called on a worker thread of the server,
        before each load: import no native library, read no weights."""


@runtime_checkable
class Foretells(Protocol):
    """Optional for a `Backend`: what its engines can, said before one is opened."""

    def foretell(self) -> Capabilities:
        """Of any model that generates: `constraints`, `max_logprobs` and `protocols` are looked at. What depends on a
        model's files is left out. Import no native library."""


Report = Callable[[int, int], None]
"""Told how far something is: done, and in all. May raise, to end it."""


@runtime_checkable
class Converts(Protocol):
    """Optional for a `Backend`: makes a file that it opens of a folder of safetensors."""

    def convert(self, folder: Path, destination: Path, report: Report) -> None:
        """Write `destination`. Blocking; what is native in it runs in a process of its own.

        Raises `errors.BadRequest` for a family or a tokenizer it does not know, by name."""


@runtime_checkable
class Quantizes(Protocol):
    """Optional for a `Backend`: makes a model's weights smaller."""

    def quantize(self, source: Path, destination: Path, kind: str, report: Report) -> None:
        """Write the model in `source` to `destination` with weights of `kind` (`Q4_K_M`, in any case). Blocking; what
        is native in it runs in a process of its own.

        Raises `errors.BadRequest` for a kind there is none of, with those there are, and for weights that are not whole
        any more."""


class Engine(Protocol):
    """Messages in, events out. Used from one asyncio event loop."""

    capabilities: Capabilities
    facts: ModelFacts

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """Answer `request`. Closing the generator cancels it and frees its place within one step.

        What goes wrong before the first event is raised as an `errors.AiAdminError`; afterwards it is a `Failed`.
        """

    def stats(self) -> EngineStats:
        """Counters as they stand. Cheap; any thread. Raises `errors.EngineStopped` where the engine is dead: its
        runner then ends, and a fresh one takes its place."""

    async def close(self) -> None:
        """End every request and free the model."""


# Optional protocols of an Engine.


class SupportsTokenize(Protocol):
    """`"tokenize"`: count and inspect tokens."""

    async def tokenize(self, input: str | GenerateRequest, *, special: bool = False, around: bool = False) -> list[int]:
        """The tokens of a text (`special`: control tokens are recognised in it; `around`: with what the vocabulary puts
        around one), or of a request's prompt, exactly as it would be read."""

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes each token stands for, control tokens spelled out; not always whole characters.

        Raises `errors.BadRequest` for tokens there are none of.
        """


class SupportsEmbed(Protocol):
    """`"embed"`: vectors for texts."""

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        """A vector of `n_embd` numbers for each input. One that is too long is cut at its end with `truncate`, and
        counted as it was read.

        Raises `errors.InputTooLong` without `truncate`, `errors.BadRequest` for tokens there are none of.
        """


class SupportsScore(Protocol):
    """`"score"`: how well documents answer a query."""

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        """A relevance from 0 to 1 for each document, higher is better. One that is too long beside the query is cut at
        its end with `truncate`.

        Raises `errors.InputTooLong` without `truncate`, naming `documents[i]`, or `query` where no document would fit.
        """


class SupportsAdapters(Protocol):
    """`"adapters"`: LoRA adapters that requests may name."""

    async def load_adapter(self, digest: str, path: Path) -> None:
        """Make the adapter in `path` available to requests under `digest`."""


class SupportsThreads(Protocol):
    """`"threads"`: the processor's cores are shared out."""

    def use_threads(self, n_threads: int) -> None:
        """Compute with no more threads than that from the next step on. Returns at once."""


# The lower level: tokens.


class Tokenizer(Protocol):
    """Text to token ids and back. Thread-safe; never touches the engine's context."""

    n_vocab: int
    bos: int | None
    add_bos: bool
    """Whether a prompt starts with `bos` where its template has not put one."""
    end_tokens: frozenset[int]
    """Tokens that end a generation (EOS, EOT, ...)."""
    eos: int | None
    """The one that chat templates write as `eos_token`."""
    control_tokens: Mapping[str, int]
    """Text of every token that only a template may write. User text that spells one stays text."""
    chat_template: str | None
    """Jinja source from the model's files."""
    infill: tuple[int, int, int] | None
    """Control tokens that stand before what a gap follows, before what follows the gap, and where it is filled; None
    for models that were not trained to fill one."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Token ids of `text`, nothing added in front; `special`: control tokens are recognised."""

    def encode_whole(self, text: str) -> list[int]:
        """Token ids of a text that stands for itself, with what the vocabulary puts around one (BOS, [CLS], [SEP]).
        Control tokens in it are text."""

    def piece(self, token: int) -> bytes:
        """The bytes `token` stands for; b"" for control tokens. Not always whole characters."""

    def constraint_vocabulary(self) -> Any:
        """An `llguidance.LLTokenizer` of this vocabulary. Made on first use, kept by the caller."""


class Matcher(Protocol):
    """One choice's constraint: which tokens may come next. Called by the engine thread, once a step."""

    def mask(self) -> Any:
        """Allowed tokens as an int32 bitmask of ceil(n_vocab / 32) words (bit i of word i // 32 is token i), a numpy
        array owned by the matcher and valid until `commit`; None allows every token. May wait for a worker thread
        that has been computing it while the model decoded."""

    def commit(self, token: int) -> None:
        """`token` was sampled under the mask. Starts to compute the next mask elsewhere and returns at once."""

    def try_commit(self, tokens: Sequence[int]) -> int:
        """Commit as many of `tokens`, from the first on, as may follow each other, and give their number. For drafts,
        which nobody has sampled under a mask: a token that is refused cannot be taken back once it is committed."""

    def rollback(self, n: int) -> None:
        """Take back the last `n` tokens that were committed, an end token among them too."""


@dataclass(frozen=True, kw_only=True)
class TokenRequest:
    """One request as a TokenEngine sees it. Stays in the runner."""

    id: int
    prompt: Prompt
    sampling: SamplingParams
    """`stop` is core's business; everything else is the engine's."""
    max_tokens: int
    """Resolved by core: never more than the context has room for. 0 for a prompt that is only read."""
    score_prompt: bool = False
    """Report `PromptRows` before `Prefilled`, which together have every token of the prompt but the first."""
    n: int = 1
    matchers: tuple[Matcher | None, ...] = (None,)
    """One for each choice."""
    end_tokens: frozenset[int] = frozenset()
    """Tokens that end a choice; empty with `ignore_eos`."""
    breakers: "Breakers | None" = None
    """What `sampling.dry_sequence_breakers` are in this vocabulary; None without DRY."""
    adapters: tuple[Adapter, ...] = ()
    priority: int = 0
    cache_salt: str = ""
    prediction: tuple[int, ...] = ()
    """Tokens that the answer is expected to begin with, as far as it goes."""
    speculation: bool = True
    """Whether tokens may be guessed."""


@dataclass(frozen=True, slots=True)
class PromptRows:
    """How likely the next tokens of a prompt are after those before them, in order, from its second token on."""

    request_id: int
    logprobs: tuple[float, ...]
    top: tuple[tuple[tuple[int, float], ...], ...]
    """For each of them, as in `Sampled`."""


@dataclass(frozen=True, slots=True)
class Prefilled:
    """The request's prompt is in the context."""

    request_id: int
    n_prompt: int
    n_cached: int
    queue_s: float
    prefill_s: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """A new token of one choice. End tokens are not reported: `Ended` follows instead."""

    request_id: int
    choice: int
    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()
    """(token, log-probability), most likely first; filled where `sampling.logprobs` asks."""
    foretold: bool = False
    """Whether it is the one that `TokenRequest.prediction` has in its place."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A choice is complete: an end token, or `max_tokens` reached."""

    request_id: int
    choice: int
    reason: Literal["stop", "length"]
    decode_s: float
    n_tokens: int
    """Tokens sampled for this choice, the end token included."""
    token: int | None = None
    """The end token; None where the answer was cut at `max_tokens`."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The request cannot go on."""

    request_id: int
    error: Exception
    """An `errors.AiAdminError` where it was foreseen."""


StepEvent = PromptRows | Prefilled | Sampled | Ended | Broken


class TokenEngine(Protocol):
    """Prompt segments in, tokens out; one thread of its own decodes."""

    capabilities: Capabilities
    """Of the engine alone; `assemble` adds what core adds (chat, constraints, stop, tools)."""
    facts: ModelFacts
    tokenizer: Tokenizer

    def start(self, sink: Callable[[Sequence[StepEvent]], None]) -> None:
        """Start the engine thread. `sink` is called on it, once a step, with everything that step gave: it returns
        at once."""

    def submit(self, request: TokenRequest) -> None:
        """Queue `request`. Any thread; never blocks."""

    def cancel(self, request_id: int, choice: int | None = None) -> None:
        """Free the place of a request, which is given up, within one step; or that of one `choice`, whose answer is
        complete without the engine's knowing it (a stop string): no cancel to be counted. Unknown ids are ignored, and
        events already on their way may still arrive. Any thread; never blocks."""

    def stats(self) -> EngineStats:
        """Counters as they stand. Any thread. Raises `errors.EngineStopped` where the engine thread has died."""

    def close(self) -> None:
        """Stop decoding, join the engine thread, free the model."""
