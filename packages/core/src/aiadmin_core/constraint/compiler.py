"""What requests want their answers to look like, as matchers for the engine. Used by `assemble`, on worker threads; one
for each model.
"""

import threading
from collections import OrderedDict
from typing import Any

from llguidance import LLMatcher

from ..backend import Tokenizer
from ..errors import BadRequest
from ..specs.constraint import JsonObject, JsonSchema, LarkGrammar
from .answer import to_grammar
from .closing import Closing, closing_of
from .matcher import GrammarMatcher
from .schema import located
from .shape import AnswerShape


class ConstraintCompiler:
    """Owns the vocabulary as llguidance sees it, made on first use, which takes a fraction of a second, and the
    grammars compiled last: one that was seen before costs a copy."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._control_tokens = dict(tokenizer.control_tokens)
        self._vocabulary: Any = None
        self._closes: Closing | None = None
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def matchers(
        self, shape: AnswerShape, n: int, before: str | None = None, *, param: str = "constraint", limit: int = 0
    ) -> tuple[GrammarMatcher, ...]:
        """A matcher for each of `n` choices; `before` is what a dialect lets stand before an answer. JSON is brought to
        its end before it has `limit` tokens, 0 for none.

        Raises `BadRequest` of `param` where the shape is none that can be enforced; the message names the keyword.
        """
        grammar = to_grammar(shape, before, self._control_tokens)
        compiled = self._compiled_before(grammar)
        if compiled is None:
            compiled = LLMatcher(self._llguidance_vocabulary(), grammar, log_level=0)
            if fault := _fault(compiled):
                raise _refused(fault, shape, param)
            self._keep(grammar, compiled)
        tokenizer, closing = self._tokenizer, self._closing(shape) if limit else None
        return tuple(
            GrammarMatcher(compiled.deep_copy(), tokenizer.n_vocab, tokenizer.end_tokens, closing, limit)
            for _ in range(n)
        )

    def _closing(self, shape: AnswerShape) -> Closing | None:
        if shape.calls is not None or not isinstance(shape.format, JsonSchema | JsonObject):
            return None
        with self._lock:
            if self._closes is None:
                self._closes = closing_of(self._tokenizer)
            return self._closes

    def _compiled_before(self, grammar: str) -> LLMatcher | None:
        with self._lock:
            if grammar in self._compiled:
                self._compiled.move_to_end(grammar)
            return self._compiled.get(grammar)

    def _keep(self, grammar: str, compiled: LLMatcher) -> None:
        with self._lock:
            self._compiled[grammar] = compiled
            if len(self._compiled) > _N_KEPT:
                self._compiled.popitem(last=False)

    def _llguidance_vocabulary(self) -> Any:
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = self._tokenizer.constraint_vocabulary()
            return self._vocabulary


def _fault(compiled: LLMatcher) -> str:
    """Why nothing can be generated under it, "" where something can. Some faults show with the first mask only."""
    if not compiled.is_error():
        first = compiled.deep_copy()
        first.compute_bitmask()
        if first.is_stopped() and not first.is_accepting():
            return "nothing satisfies it"
        compiled = first if first.is_error() else compiled
    return " ".join(compiled.get_error().split()).rstrip(".")[:_LONGEST_REASON]


def _refused(reason: str, shape: AnswerShape, param: str) -> BadRequest:
    place = ""
    if isinstance(shape.format, JsonSchema):
        place = next((f" at {pointer}" for pointer in located(shape.format.schema, _is_no_regex)), "")
    return BadRequest(
        f"The answer's format cannot be enforced{place}: {reason}.",
        hint="Its syntax is Lark's, as llguidance reads it, and not GBNF."
        if isinstance(shape.format, LarkGrammar)
        else "Leave out what is named there, or ask for a simpler format.",
        param=param,
    )


def _is_no_regex(expression: str) -> bool:
    return bool(LLMatcher.validate_grammar(LLMatcher.grammar_from_regex(expression)))


_N_KEPT = 32
"""Compiled grammars. One takes kilobytes to a few megabytes."""
_LONGEST_REASON = 500
"""Characters: llguidance quotes the grammar, which may be of any length."""
