"""An input, whatever its kind, as the prompt an engine reads. Used by `assemble`, on a worker thread."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgspec

from ..backend import Tokenizer
from ..errors import BadRequest
from ..specs.content import Message, TextPart, Tool, plain_text
from ..specs.prompt import Prompt, TokenSegment
from ..specs.request import ChatInput, Input, TextInput, TokensInput
from .control_tokens import ControlTokens, Run, unused_taint
from .conversation import with_own
from .infill import infill_of
from .template import Template, go_template

END_OF_TEXT = "<|endoftext|>"
"""What stands between documents, by the name that most vocabularies have for it."""


@dataclass(frozen=True, kw_only=True)
class RenderedPrompt:
    """What the engine reads, and what the reasoning dialect looks at."""

    tokens: list[int]
    tail: str
    """The last characters of a rendered conversation, "" for text and tokens: the template may have opened the
    model's reasoning."""

    @property
    def prompt(self) -> Prompt:
        """As segments."""
        return (TokenSegment(tuple(self.tokens)),)


class PromptWriter:
    """Renders inputs for one model. Thread-safe."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: Template | None,
        *,
        system: str | None = None,
        messages: tuple[Message, ...] = (),
    ) -> None:
        """`system` and `messages` are the model's own, see `ModelSpec`."""
        self._tokenizer = tokenizer
        self._template = template
        self._system = system
        self._messages = messages
        self._control = ControlTokens(tokenizer)
        self._infill = infill_of(template)
        self._read_template = lru_cache(maxsize=4)(go_template)  # those that requests bring

    @property
    def infills(self) -> bool:
        """Whether a gap between two texts can be asked for."""
        return self._infill is not None or self._tokenizer.infill is not None

    def write(self, input: Input, *, reasoning_effort: str | None = None) -> RenderedPrompt:
        """Raises `BadRequest` where the input cannot be a prompt of this model."""
        match input:
            case ChatInput():
                runs = self.render(input, reasoning_effort=reasoning_effort)
                said = [token for run in runs for token in self._control.encode(run)]
                tokens = [*input.context, *said] if input.context else self.with_bos(said)
                self._check_ids(input.context, "context")
                tail = runs[-1].text[-_TAIL:] if runs else ""
            case TextInput(text=text, suffix=str(suffix)):
                tokens, tail = self.with_bos(self._around_gap(text, suffix)), ""
            case TextInput(text=text):
                # The whole prompt is its author's: people write the markers of their model into it.
                tokens, tail = self.with_bos(self._tokenizer.encode(text, special=True)), ""
                tokens = tokens or self._document_start()
            case TokensInput(tokens=given):
                tokens, tail = list(given), ""
                self._check_ids(given, "prompt")
        if not tokens:
            raise BadRequest("The prompt is empty.", param="messages" if isinstance(input, ChatInput) else "prompt")
        return RenderedPrompt(tokens=tokens, tail=tail)

    def _check_ids(self, tokens: Sequence[int], param: str) -> None:
        if any(not 0 <= token < self._tokenizer.n_vocab for token in tokens):
            raise BadRequest(
                f"The {param} holds token ids outside the model's vocabulary of {self._tokenizer.n_vocab}.", param=param
            )

    def render(self, chat: ChatInput, *, reasoning_effort: str | None = None) -> list[Run]:
        """The conversation as text: which stretches of it may hold control tokens."""
        template = self._template if chat.template is None else self._read_template(chat.template)
        if template is None:
            raise BadRequest("This model has no usable chat template.", param="messages")
        if (name := template.refused_option(chat.template_options)) is not None:
            raise BadRequest(
                f"'chat_template_kwargs' cannot set '{name}': the server sets it.",
                hint="Leave it out.",
                param=f"chat_template_kwargs.{name}",
            )
        messages = chat.messages
        if not chat.context:  # which has them already
            messages = with_own(messages, self._system, self._messages)
        begun = ""
        if chat.continues:
            *before, last = messages
            begun = plain_text(last.content)
            messages = (*before, msgspec.structs.replace(last, content=(TextPart(_HERE),)))
        options = dict(chat.template_options)
        if reasoning_effort is not None:
            options.setdefault("reasoning_effort", reasoning_effort)
            options.setdefault("enable_thinking", reasoning_effort != "none")  # for templates that know no degrees
        runs = self._runs(template, messages, chat.tools, options, opens=not chat.continues)
        return _cut(runs, begun) if chat.continues else runs

    def _runs(
        self,
        template: Template,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        options: Mapping[str, Any],
        *,
        opens: bool,
    ) -> list[Run]:
        texts: list[str] = []

        def noted(text: str) -> str:
            texts.append(text)
            return text

        plain = template.render(messages, tools, options, mark=noted, opens=opens)
        if not any(map(self._control.risky, texts)):
            return [Run(plain, special=True)]
        taint = unused_taint([*texts, template.source])
        tainted = template.render(
            messages, tools, options, mark=lambda text: self._control.tainted(text, taint), opens=opens
        )
        runs = self._control.runs(tainted, taint)
        trusted = [token for run in runs if run.special for token in self._control.found(run.text)]
        # Nearly always the risk comes to nothing (a "<" in a text). Then the plain rendering is the better one: what
        # templates find out about a text, they find out about the text itself.
        if self._control.found(plain) == trusted and not any(map(self._control.found, texts)):
            return [Run(plain, special=True)]
        return runs

    def _around_gap(self, text: str, suffix: str) -> list[int]:
        """Code is text: what spells a control token in it is none."""
        if self._infill is not None:
            given = {_HERE: text, _THERE: suffix}
            pieces = re.split(f"({_HERE}|{_THERE})", self._infill(_HERE, _THERE))
            runs = [Run(given.get(piece, piece), special=piece not in given) for piece in pieces]
            return [token for run in runs for token in self._control.encode(run)]
        if self._tokenizer.infill is None:
            raise BadRequest("This model fills no gaps: its vocabulary has no tokens for it.", param="suffix")
        before, after, gap = self._tokenizer.infill
        encode = partial(self._tokenizer.encode, special=False)
        return [before, *encode(text), after, *encode(suffix), gap]

    def _document_start(self) -> list[int]:
        """What stands between documents in what the model was trained on, as far as its vocabulary tells."""
        found = (self._tokenizer.control_tokens.get(END_OF_TEXT), self._tokenizer.bos, self._tokenizer.eos)
        return [token for token in found if token is not None][:1]

    def with_bos(self, tokens: list[int]) -> list[int]:
        """`tokens` as the beginning of a prompt: what this vocabulary puts in front is there once."""
        bos = self._tokenizer.bos
        if bos is None or not self._tokenizer.add_bos or tokens[:1] == [bos]:
            return tokens
        return [bos, *tokens]


def _cut(runs: Sequence[Run], begun: str) -> list[Run]:
    """`runs` up to where the last message's text stands, and then that text, `begun`. Raises `BadRequest`."""
    for index, run in reversed(list(enumerate(runs))):
        before, found, _ = run.text.rpartition(_HERE)
        if found:
            kept = [*runs[:index], Run(before, special=run.special), Run(begun, special=False)]
            return [run for run in kept if run.text]
    raise BadRequest(
        "This model's chat template does not write an assistant's last message, which is to be continued.",
        hint="End the conversation with a user's message.",
        param="messages",
    )


_HERE = "\ue010\ue011\ue010"
"""Stands in for a text whose place in the prompt is looked for. The last one is ours, whatever a client writes."""
_THERE = "\ue010\ue012\ue010"
_TAIL = 64
