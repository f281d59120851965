"""Core's events to `text_completion`, whole and in chunks: pure, one object for each response."""

import codecs
from collections.abc import Iterator, Sequence

from msgspec import UNSET, Struct

from aiadmin_core.specs import events as core

from ....serving.logprobs import LEAST_LOGPROB, as_bytes, finite, spelled
from ..streaming import Head, OpenAIWriter
from ..usage import Usage, UsageTally
from . import wire


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
        include_usage: bool,
        best: Best | None = None,
        scored: bool = False,
        show_logprobs: bool = True,
    ) -> None:
        """`echo` holds what each choice's text begins with: its prompt, or "", or None where the prompt is tokens.
        `scored`: a `PromptScored` of each choice will tell them. Without `show_logprobs` the client has not asked for
        any: they are there to compare choices by, or for the text that comes with them."""
        super().__init__(head)
        self.include_usage = include_usage
        self.echo = echo
        self.best = best
        self.tally = UsageTally()
        self.scored = scored
        self.show_logprobs = show_logprobs
        self._n_characters = [len(text or "") for text in echo]

    def first(self) -> Iterator[wire.TextCompletion]:
        for index, text in enumerate(self.echo):
            if text and not self.scored:
                yield self._completion([wire.TextChoice(index=index, text=text)])

    def chunks(self, event: core.Event) -> Iterator[wire.TextCompletion]:
        match event:
            case core.PromptScored():
                text, logprobs = self._prompt(event)
                self._n_characters[event.choice] = len(text)
                choice = wire.TextChoice(index=event.choice, text=text, logprobs=logprobs)
            case core.TextDelta() | core.ReasoningDelta():  # a completion has one text, thoughts included
                shown = event.logprobs if self.show_logprobs else ()
                logprobs = text_logprobs(shown, self._n_characters[event.choice])
                self._n_characters[event.choice] += len(event.text)
                choice = wire.TextChoice(index=event.choice, text=event.text, logprobs=logprobs)
            case core.Finished():
                self.tally.add(event)
                choice = wire.TextChoice(index=event.choice, text="", finish_reason=event.reason)
            case _:
                return
        yield self._completion([choice])

    def last(self) -> Iterator[wire.TextCompletion]:
        if self.include_usage:
            yield self._completion([], usage=self.tally.total())

    def whole(self, events: Sequence[core.Event]) -> wire.TextCompletion:
        prompts: list[tuple[str, wire.TextLogprobs | None]] = [(text or "", None) for text in self.echo]
        texts = [""] * len(prompts)
        logprobs: list[list[core.TokenLogprob]] = [[] for _ in texts]
        reasons: list[core.FinishReason | None] = [None for _ in texts]
        for event in events:
            if isinstance(event, core.TextDelta | core.ReasoningDelta):
                texts[event.choice] += event.text
                logprobs[event.choice].extend(event.logprobs)
            elif isinstance(event, core.PromptScored):
                prompts[event.choice] = self._prompt(event)
            elif isinstance(event, core.Finished):
                reasons[event.choice] = event.reason
                self.tally.add(event)
        kept = range(len(texts)) if self.best is None else self.best.choose([mean_logprob(lane) for lane in logprobs])
        choices: list[wire.TextChoice] = []
        for index, choice in enumerate(kept):
            prompt, scores = prompts[choice]
            answered = text_logprobs(logprobs[choice], len(prompt)) if self.show_logprobs else None
            choices.append(
                wire.TextChoice(
                    index=index,
                    text=prompt + texts[choice],
                    logprobs=_together(scores, answered),
                    finish_reason=reasons[choice],
                )
            )
        return self._completion(choices, usage=self.tally.total(), whole=True)

    def _prompt(self, event: core.PromptScored) -> tuple[str, wire.TextLogprobs | None]:
        """What a choice's text begins with, and what there is to be told of it."""
        spelt = b"".join(item.bytes for item in event.tokens).decode("utf-8", "replace")
        asked = self.echo[event.choice]
        text = spelt if asked is None else asked
        # A tokenizer puts a token, or a space, in front of what was asked: that begins where the text does.
        n_added = len(spelt) - len(text) if spelt.endswith(text) else 0
        return text, text_logprobs(event.tokens, -n_added) if self.show_logprobs else None

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


def text_logprobs(tokens: Sequence[core.TokenLogprob | core.PromptToken], offset: int) -> wire.TextLogprobs | None:
    """`offset` is where the first token starts in the choice's text, in characters; below 0 is in front of it."""
    if not tokens:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character may be several tokens
    offsets: list[int] = []
    for item in tokens:
        offsets.append(max(0, offset))
        offset += len(decoder.decode(item.bytes))
    return wire.TextLogprobs(
        tokens=[spelled(item.bytes) for item in tokens],
        token_logprobs=[None if item.logprob is None else finite(item.logprob) for item in tokens],
        top_logprobs=[None if item.logprob is None else _alternatives(item.top) for item in tokens],
        text_offset=offsets,
    )


def _together(first: wire.TextLogprobs | None, then: wire.TextLogprobs | None) -> wire.TextLogprobs | None:
    if first is None or then is None:
        return first or then
    return wire.TextLogprobs(
        tokens=first.tokens + then.tokens,
        token_logprobs=first.token_logprobs + then.token_logprobs,
        top_logprobs=first.top_logprobs + then.top_logprobs,
        text_offset=first.text_offset + then.text_offset,
    )


def _alternatives(top: Sequence[core.Alternative]) -> dict[str, float]:
    """Each by its text; of several that look the same the later ones by their bytes, or their ids."""
    found: dict[str, float] = {}
    for other in top:
        names = (spelled(other.bytes), as_bytes(other.bytes), f"token_id:{other.token}")
        found[next((name for name in names if name not in found), names[-1])] = finite(other.logprob)
    return found
