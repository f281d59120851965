"""Constraints of requests to matchers for the engine. Used by `assemble`, on worker threads; one for each model."""

import threading
from typing import Any

from llguidance import LLMatcher

from ..backend import Matcher, Tokenizer
from ..errors import BadRequest
from ..specs.constraint import Constraint
from ..text.reasoning import ReasoningDialect
from .grammar import to_grammar
from .matcher import AfterReasoning, GrammarMatcher


class ConstraintCompiler:
    """Owns the vocabulary as llguidance sees it: made on first use, which takes a fraction of a second."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: Any = None
        self._lock = threading.Lock()

    def matchers(
        self,
        constraint: Constraint,
        n: int,
        dialect: ReasoningDialect | None,
        prompt_tail: str,
        *,
        param: str = "response_format",
    ) -> tuple[Matcher, ...]:
        """A matcher for each of `n` choices that follow a prompt which ends in `prompt_tail`. Reasoning in `dialect`
        stays free.

        Raises `BadRequest` of `param` where the constraint is none that can be enforced; the message names the keyword.
        """
        compiled = LLMatcher(self._llguidance_vocabulary(), to_grammar(constraint), log_level=0)
        if compiled.is_error():
            reason = " ".join(compiled.get_error().split()).rstrip(".")[:_LONGEST_REASON]
            raise BadRequest(
                f"The answer's format cannot be enforced: {reason}.",
                hint="Leave out what is named there, or ask for a simpler format.",
                param=param,
            )
        return tuple(self._matcher(compiled.deep_copy(), dialect, prompt_tail) for _ in range(n))

    def _matcher(self, state: LLMatcher, dialect: ReasoningDialect | None, prompt_tail: str) -> Matcher:
        tokenizer = self._tokenizer
        answer = GrammarMatcher(state, tokenizer.n_vocab, tokenizer.end_tokens)
        if dialect is None:
            return answer
        start = tokenizer.encode(dialect.start, special=True) if dialect.may_open(prompt_tail) else []
        return AfterReasoning(
            answer,
            tokenizer,
            end=dialect.end,
            start=start[0] if len(start) == 1 else None,
            opened=dialect.opened(prompt_tail),
            end_tokens=tokenizer.end_tokens,
        )

    def _llguidance_vocabulary(self) -> Any:
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = self._tokenizer.constraint_vocabulary()
            return self._vocabulary


_LONGEST_REASON = 500
"""Characters: llguidance quotes the grammar, which may be of any length."""
