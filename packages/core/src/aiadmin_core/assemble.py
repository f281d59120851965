"""A `TokenEngine` made into an `Engine`: everything between messages and tokens, the same for every backend.

Called by the runner (and in-process) after `Backend.open_engine`. Prompts are rendered and tokenised on worker
threads; the engine thread hands each step over to the event loop with one call; text, reasoning, stop strings and tool
calls are the loop's work, in one `Generation` for each request, and leave as the step gave them (`batches`).
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from .backend import (
    Engine,
    Matcher,
    StepEvent,
    SupportsAdapters,
    SupportsEmbed,
    SupportsScore,
    SupportsThreads,
    TokenEngine,
    TokenRequest,
)
from .batches import Sink, flat, handed_over
from .constraint.enforced import enforced
from .constraint.shape import AnswerShape
from .dialects.choice import offered, to_shape
from .dialects.dialect import Dialect
from .dialects.find import OURS, Speech, find_speech
from .errors import BadRequest, ContextLengthExceeded, EngineStopped
from .refuse import unsupported
from .specs.capabilities import Capabilities
from .specs.content import Message
from .specs.events import Event
from .specs.model import EngineStats, ModelFacts, ModelSpec
from .specs.prompt import Prompt, TokenSegment
from .specs.request import ChatInput, GenerateRequest
from .specs.sampling import SamplingParams
from .specs.vectors import Scores, Vectors
from .text.chat_template import CHATML, CHATML_END
from .text.generation import Generation
from .text.pipeline import TextPipeline
from .text.prompt import PromptWriter, RenderedPrompt
from .text.prompt_scores import PromptScores
from .text.template import Template, read_template
from .text.truncation import fitting

if TYPE_CHECKING:
    from .sampling.dry import BreakerFinder, Breakers

Result = TypeVar("Result")

_NO_LIMIT = 2**31 - 1
_ANSWER_SHARE = 8
"""Part of the context that is kept for an answer without a limit where turns are left out."""
_N_WORKERS = 8
"""Threads that render and tokenise."""


def assemble(
    engine: TokenEngine,
    model: ModelSpec,
    *,
    dialects: Sequence[Dialect] = (),
) -> Engine:
    """The `Engine` of `model`, which `engine` has opened. `dialects` are those of plugins, which come before core's
    own."""
    return AssembledEngine(engine, model, (*dialects, *OURS))


@dataclass(frozen=True)
class _Open:
    """A request that is being answered."""

    generation: Generation
    sink: Sink
    ended: asyncio.Future[None]
    """Done when it is answered; raises what ended it before there was any event."""


class AssembledEngine:
    """See `assemble`. Used from one event loop at a time; owns the token engine."""

    def __init__(self, engine: TokenEngine, model: ModelSpec, dialects: Sequence[Dialect]) -> None:
        self._engine = engine
        self._tokenizer = engine.tokenizer
        template, self._turn_ends, notes = _template(engine, model)
        self._speech = find_speech(template, dialects, tuple(engine.tokenizer.control_tokens)) if template else Speech()
        notes += filter(None, [self._speech.note])
        self._piece = cache(engine.tokenizer.piece)  # asked for at every token, and bounded by the vocabulary
        self._writer = PromptWriter(engine.tokenizer, template, system=model.system, messages=model.messages)
        self._control_texts = {token: text.encode() for text, token in engine.tokenizer.control_tokens.items()}
        self._breaker_finder: BreakerFinder | None = None
        self._compiler: Any = None  # a constraint.compiler.ConstraintCompiler, imported when a request needs it
        self._ids = itertools.count(1)  # the engine's own: a caller may use an id again while events are on their way
        self._open: dict[int, _Open] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers = ThreadPoolExecutor(_N_WORKERS, thread_name_prefix="aiadmin-text")
        self._closed = False
        self.capabilities = _capabilities(
            engine.capabilities,
            chat=template is not None,
            reasoning=self._speech.reasoning is not None,
            tools=self._speech.calls is not None,
            suffix=self._writer.infills,
        )
        self.facts: ModelFacts = msgspec.structs.replace(engine.facts, notes=(*engine.facts.notes, *notes))

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        async with aclosing(flat(handed_over(self, request))) as events:
            async for event in events:
                yield event

    async def generate_into(self, request: GenerateRequest, sink: Sink) -> None:
        """See `batches.GeneratesInto`."""
        if refusal := unsupported(request, self.capabilities):
            raise refusal
        self._start()
        prepared, tail, n_dropped = await self._on_worker(self._prepare, request, next(self._ids))
        if self._closed:
            raise EngineStopped("The engine is closed.")
        generation = Generation(
            request.id,
            self._pipelines(request, tail),
            partial(self._engine.cancel, prepared.id),
            cached=self.capabilities.cached_tokens,
            max_tokens=prepared.max_tokens if _is_clamped(request, prepared) else None,
            n_dropped=n_dropped,
            n_predicted=len(prepared.prediction),
            scores=PromptScores(prepared.prompt, self._shown) if prepared.score_prompt else None,
            told=_tokens_of(prepared.prompt) if request.tells_tokens else None,
            closed=lambda choice: getattr(prepared.matchers[choice], "closed", False),
        )
        ended = asyncio.get_running_loop().create_future()
        self._open[prepared.id] = _Open(generation, sink, ended)
        try:
            self._engine.submit(prepared)
            await ended
        finally:
            del self._open[prepared.id]
            if generation.running:
                self._engine.cancel(prepared.id)

    async def tokenize(self, input: str | GenerateRequest, *, special: bool = False, around: bool = False) -> list[int]:
        """See `backend.SupportsTokenize`."""
        if isinstance(input, str):
            return await self._on_worker(partial(self._tokens_of, input, special=special, around=around))
        if refusal := unsupported(input, self.capabilities):
            raise refusal
        rendered, _ = await self._on_worker(self._written, input, self._speech_for(input))
        return rendered.tokens

    def _tokens_of(self, text: str, *, special: bool, around: bool) -> list[int]:
        if around and not self.capabilities.generates:
            return self._tokenizer.encode_whole(text)
        tokens = self._tokenizer.encode(text, special=special)
        return self._writer.with_bos(tokens) if around else tokens

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        """See `backend.SupportsTokenize`."""
        if any(not 0 <= token < self._tokenizer.n_vocab for token in tokens):
            raise BadRequest(f"Token ids lie between 0 and {self._tokenizer.n_vocab - 1}.", param="tokens")
        return await self._on_worker(lambda: [self._shown(token) for token in tokens])

    def _shown(self, token: int) -> bytes:
        """A token's bytes, or the text of a control token."""
        return self._control_texts.get(token) or self._piece(token)

    async def embed(self, inputs: Sequence[str | tuple[int, ...]], *, truncate: bool = False) -> Vectors:
        """See `backend.SupportsEmbed`. This and the next two are the token engine's own, where it names them."""
        self._start()
        return await cast(SupportsEmbed, self._engine).embed(inputs, truncate=truncate)

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Scores:
        """See `backend.SupportsScore`."""
        self._start()
        return await cast(SupportsScore, self._engine).score(query, documents, truncate=truncate)

    async def load_adapter(self, digest: str, path: Path) -> None:
        """See `backend.SupportsAdapters`."""
        self._start()
        await cast(SupportsAdapters, self._engine).load_adapter(digest, path)

    def use_threads(self, n_threads: int) -> None:
        """See `backend.SupportsThreads`."""
        cast(SupportsThreads, self._engine).use_threads(n_threads)

    def stats(self) -> EngineStats:
        """See `backend.Engine`."""
        return self._engine.stats()

    async def close(self) -> None:
        """See `backend.Engine`."""
        self._closed = True
        for one in self._open.values():
            one.generation.fail(EngineStopped("The engine was closed."))
        _hand_over(self._open.values())
        # Whoever renders or tokenises has to leave first: native tokenizers end with the model.
        await asyncio.to_thread(self._workers.shutdown)
        await asyncio.to_thread(self._engine.close)

    async def _on_worker(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Cancelling does not stop the thread; `close` waits for it. Raises `EngineStopped` once closed."""
        if self._closed:
            raise EngineStopped("The engine is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)

    def _start(self) -> None:
        first = self._loop is None
        self._loop = asyncio.get_running_loop()
        if first:
            self._engine.start(self._on_step)

    def _on_step(self, events: Sequence[StepEvent]) -> None:
        """On the engine thread, once a step."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._deliver, events)

    def _deliver(self, events: Sequence[StepEvent]) -> None:
        if self._closed:
            return  # every request has been told, and the tokenizer may be gone
        touched: dict[int, _Open] = {}
        for event in events:
            if (one := self._open.get(event.request_id)) is not None:
                touched[event.request_id] = one
                try:
                    one.generation.take(event)
                except Exception as error:  # a dialect is a plugin's: its request fails, no other
                    one.generation.fail(error)
        _hand_over(touched.values())

    def _prepare(self, request: GenerateRequest, id: int) -> tuple[TokenRequest, str, int]:
        """What the engine is asked, the end of the prompt's text, and how many messages were left out of it. On a
        worker thread."""
        sampling = request.sampling
        if any(not 0 <= token < self._tokenizer.n_vocab for token in sampling.logit_bias):
            raise BadRequest(f"Token ids lie between 0 and {self._tokenizer.n_vocab - 1}.", param="logit_bias")
        speech = self._speech_for(request)
        shape = to_shape(request, speech, self._tokenizer.control_tokens)
        rendered, n_dropped = self._written(request, speech)
        room = self.facts.n_ctx - len(rendered.tokens) if self.facts.n_ctx else _NO_LIMIT
        if room <= 0:
            param = "messages" if isinstance(request.input, ChatInput) else "prompt"
            raise ContextLengthExceeded(n_prompt=len(rendered.tokens), n_ctx=self.facts.n_ctx, param=param)
        prepared = TokenRequest(
            id=id,
            prompt=rendered.prompt,
            sampling=sampling,
            max_tokens=0 if request.reads_only else min(sampling.max_tokens or room, room),
            score_prompt=request.score_prompt,
            n=request.n,
            matchers=self._matchers(request, shape, speech, rendered, min(sampling.max_tokens or room, room)),
            end_tokens=frozenset() if sampling.ignore_eos else self._tokenizer.end_tokens,
            breakers=self._breakers(sampling),
            adapters=request.adapters,
            priority=request.priority,
            cache_salt=request.cache_salt,
            prediction=tuple(self._tokenizer.encode(request.prediction, special=False)[: max(room, 0)]),
            speculation=request.speculation,
        )
        return prepared, rendered.tail, n_dropped

    def _written(self, request: GenerateRequest, speech: Speech) -> tuple[RenderedPrompt, int]:
        """The prompt, and how many messages were left out of it."""
        chat, n_ctx = request.input, self.facts.n_ctx
        if not isinstance(chat, ChatInput):
            return self._writer.write(chat), 0

        def write(messages: tuple[Message, ...]) -> RenderedPrompt:
            shown = msgspec.structs.replace(chat, messages=messages, tools=offered(request))
            return self._writer.write(speech.rewrite(shown), reasoning_effort=request.reasoning_effort)

        if not (request.truncate and n_ctx):
            return write(chat.messages), 0
        for_answer = min(request.sampling.max_tokens or n_ctx // _ANSWER_SHARE, n_ctx // 2)
        return fitting(chat.messages, write, n_ctx - for_answer)

    def _breakers(self, sampling: SamplingParams) -> "Breakers | None":
        if not sampling.dry_multiplier:
            return None
        from .sampling.dry import BreakerFinder  # brings numpy

        if self._breaker_finder is None:
            self._breaker_finder = BreakerFinder(self._tokenizer)
        return self._breaker_finder.find(sampling.dry_sequence_breakers)

    def _matchers(
        self, request: GenerateRequest, shape: AnswerShape, speech: Speech, rendered: RenderedPrompt, limit: int
    ) -> tuple[Matcher | None, ...]:
        if shape.free:
            return (None,) * request.n
        if request.sampling.ignore_eos:
            raise BadRequest("'ignore_eos' cannot go on past the end of a response format.", param="ignore_eos")
        from .constraint.compiler import ConstraintCompiler  # brings llguidance and numpy: not before they are needed

        if self._compiler is None:
            self._compiler = ConstraintCompiler(self._tokenizer)
        compiler: ConstraintCompiler = self._compiler
        before = speech.before_answer(rendered.tail, self._tokenizer.control_tokens)
        param = "tools" if shape.calls else "constraint"
        return compiler.matchers(shape, request.n, before, param=param, limit=limit)

    def _pipelines(self, request: GenerateRequest, tail: str) -> list[TextPipeline]:
        speech, tools = self._speech_for(request), offered(request)
        shown = speech.markers(calls=bool(tools))
        return [
            TextPipeline(
                self._piece,
                self._control_texts,
                shown=shown,
                parser=speech.parser(tail, tools),
                stops=request.sampling.stop,
                turn_ends=self._turn_ends,
                parallel=request.tool_choice.parallel,
                logprobs=request.sampling.logprobs is not None,
            )
            for _ in range(request.n)
        ]

    def _speech_for(self, request: GenerateRequest) -> Speech:
        """Plain text and tokens are continued as they are: nothing in what follows is told apart."""
        return self._speech if isinstance(request.input, ChatInput) else Speech()


def _is_clamped(request: GenerateRequest, prepared: TokenRequest) -> bool:
    return not request.reads_only and (request.sampling.max_tokens or 0) > prepared.max_tokens


def _hand_over(requests: Collection[_Open]) -> None:
    """Give each sink what has happened, all its requests in one piece."""
    given: dict[Sink, list[Event]] = {}
    for one in requests:
        if events := one.generation.give():
            given.setdefault(one.sink, []).extend(events)
    for sink, events in given.items():
        sink(events)
    for one in requests:
        if one.generation.over and not one.ended.done():
            if one.generation.refusal is not None:
                one.ended.set_exception(one.generation.refusal)
            else:
                one.ended.set_result(None)


def _template(engine: TokenEngine, model: ModelSpec) -> tuple[Template | None, tuple[str, ...], list[str]]:
    """The model's chat template, the texts that end its turns, and what an administrator should know about both."""
    tokenizer = engine.tokenizer
    stops = _texts(model.parameters.get("stop"))
    source = model.template or tokenizer.chat_template
    notes: list[str] = []
    if not engine.capabilities.generates:
        return None, (), []
    if not source:
        source, stops = CHATML, stops or (CHATML_END,)
        notes.append("no chat template: conversations are written as ChatML")
    names: dict[int | None, str] = {token: text for text, token in tokenizer.control_tokens.items()}
    candidates = list(dict.fromkeys(text for text in (source, tokenizer.chat_template) if text))
    for candidate in candidates:
        try:
            template = read_template(candidate, bos=names.get(tokenizer.bos, ""), eos=names.get(tokenizer.eos, ""))
        except BadRequest as error:
            notes.append(error.message)
        else:
            return template, stops, notes
    return None, stops, [f"no conversations: {note}" for note in notes]


def _tokens_of(prompt: Prompt) -> list[int]:
    return [token for segment in prompt if isinstance(segment, TokenSegment) for token in segment.tokens]


def _capabilities(engine: Capabilities, *, chat: bool, reasoning: bool, tools: bool, suffix: bool) -> Capabilities:
    """What the engine can do and what core adds to it."""
    if not engine.generates:
        return msgspec.structs.replace(engine, protocols=engine.protocols | {"tokenize"})
    return msgspec.structs.replace(
        engine,
        inputs=frozenset({"text", "tokens"}) | (frozenset({"chat"}) if chat else frozenset()),
        constraints=enforced(),
        reasoning=reasoning,
        tools=tools,
        suffix=suffix,
        renders=True,
        protocols=engine.protocols | {"tokenize"},
    )


def _texts(value: Any) -> tuple[str, ...]:
    """Stop strings as a model's parameters hold them: one, or a list."""
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
