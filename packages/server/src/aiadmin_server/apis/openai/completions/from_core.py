"""Core's events to `text_completion`, whole and in chunks: pure, one object for each response."""

from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct

from aiadmin_core.specs import events as core

from ....serving.logprobs import LEAST_LOGPROB, finite
from ..streaming import Head, OpenAIWriter
from ..usage import Usage, UsageTally
from . import wire
from .echo import PromptEcho
from .logprobs import text_logprobs, together


class Best(Struct, frozen=True, kw_only=True):
    """`best_of`: more choices are generated for a prompt than are given out."""

    n: int
    """Given out for each prompt."""
    best_of: int
    """Generated for each prompt."""

    def choose(self, scores: Sequence[float]) -> list[int]:
        """The choices to give out, prompt by prompt, best first. `scores` has one of each that was generated."""
        prompts = range(0, len(scores), self.best_of)
        ranked = (sorted(range(at, at + self.best_of), key=lambda choice: -scores[choice]) for at in prompts)
        return [choice for choices in ranked for choice in choices[: self.n]]


class TextWriter(OpenAIWriter):
    """`text_completion`, whole and in chunks."""

    def __init__(
        self,
        head: Head,
        *,
        echo: Sequence[str | None],
        n: int,
        include_usage: bool,
        best: Best | None = None,
        scored: bool = False,
        show_logprobs: bool = True,
    ) -> None:
        """`echo` holds what each prompt's `n` choices begin with: the prompt, or "", or None where it is tokens.
        `scored`: `PromptScored` will tell them. Without `show_logprobs` the client has not asked for any: they are
        there to compare choices by, or for the text that comes with them."""
        super().__init__(head)
        self.include_usage = include_usage
        self.echo = echo
        self.n = n
        self.best = best
        self.tally = UsageTally()
        self.scored = scored
        self.show_logprobs = show_logprobs
        self._prompts = [PromptEcho(text) for text in echo]
        self._n_characters = [0 if scored else len(text or "") for text in echo for _ in range(n)]

    def first(self) -> Iterator[wire.TextCompletion]:
        for prompt, text in enumerate(self.echo):
            if text and not self.scored:
                yield from self._of_all(prompt, text)

    def chunks(self, event: core.Event) -> Iterator[wire.TextCompletion]:
        match event:
            case core.PromptScored():
                prompt = event.choice // self.n
                yield from self._of_all(prompt, *self._prompts[prompt].take(event.tokens))
            case core.TextDelta() | core.ReasoningDelta():  # a completion has one text, thoughts included
                yield from self._end_of_prompt(event.choice)
                shown = event.logprobs if self.show_logprobs else ()
                logprobs = text_logprobs(shown, self._n_characters[event.choice])
                self._n_characters[event.choice] += len(event.text)
                yield self._completion([wire.TextChoice(index=event.choice, text=event.text, logprobs=logprobs)])
            case core.Finished():
                yield from self._end_of_prompt(event.choice)
                self.tally.add(event)
                yield self._completion([wire.TextChoice(index=event.choice, text="", finish_reason=event.reason)])

    def _of_all(
        self, prompt: int, text: str, logprobs: wire.TextLogprobs | None = None
    ) -> Iterator[wire.TextCompletion]:
        """The same of every choice of a prompt."""
        shown = logprobs if self.show_logprobs else None
        for index in range(prompt * self.n, (prompt + 1) * self.n):
            if self.scored:
                self._n_characters[index] = self._prompts[prompt].n_characters
            yield self._completion([wire.TextChoice(index=index, text=text, logprobs=shown)])

    def _end_of_prompt(self, choice: int) -> Iterator[wire.TextCompletion]:
        """What is held of the prompt's last character, before anything of an answer."""
        prompt = choice // self.n
        if self.scored and (text := self._prompts[prompt].rest()):
            yield from self._of_all(prompt, text)

    def last(self) -> Iterator[wire.TextCompletion]:
        if self.include_usage:
            yield self._completion([], usage=self.tally.total())

    def whole(self, events: Sequence[core.Event]) -> wire.TextCompletion:
        prompts = [text or "" for text in self.echo]
        scored: list[list[core.PromptToken]] = [[] for _ in prompts]
        texts = [""] * len(self._n_characters)
        logprobs: list[list[core.TokenLogprob]] = [[] for _ in texts]
        reasons: list[core.FinishReason | None] = [None for _ in texts]
        for event in events:
            if isinstance(event, core.TextDelta | core.ReasoningDelta):
                texts[event.choice] += event.text
                logprobs[event.choice].extend(event.logprobs)
            elif isinstance(event, core.PromptScored):
                scored[event.choice // self.n].extend(event.tokens)
            elif isinstance(event, core.Finished):
                reasons[event.choice] = event.reason
                self.tally.add(event)
        kept = range(len(texts)) if self.best is None else self.best.choose([mean_logprob(lane) for lane in logprobs])
        scores: list[wire.TextLogprobs | None] = []
        for prompt, echo in enumerate(self._prompts):
            text, found = echo.take(scored[prompt])
            prompts[prompt] = text + echo.rest() if self.echo[prompt] is None else prompts[prompt]
            scores.append(found if self.show_logprobs else None)
        choices: list[wire.TextChoice] = []
        for index, choice in enumerate(kept):
            prompt = choice // self.n
            answered = text_logprobs(logprobs[choice], len(prompts[prompt])) if self.show_logprobs else None
            choices.append(
                wire.TextChoice(
                    index=index,
                    text=prompts[prompt] + texts[choice],
                    logprobs=together(scores[prompt], answered),
                    finish_reason=reasons[choice],
                )
            )
        return self._completion(choices, usage=self.tally.total(), whole=True)

    def _completion(
        self, choices: list[wire.TextChoice], usage: Usage | None = None, *, whole: bool = False
    ) -> wire.TextCompletion:
        return wire.TextCompletion(
            id=self.head.id,
            created=self.head.created,
            model=self.head.model,
            choices=choices,
            system_fingerprint=self.head.system_fingerprint,
            usage=usage if whole or self.include_usage else UNSET,
        )


def mean_logprob(tokens: Sequence[core.TokenLogprob]) -> float:
    """Per token, so that a short answer is not better for being short."""
    return sum(finite(item.logprob) for item in tokens) / len(tokens) if tokens else LEAST_LOGPROB
