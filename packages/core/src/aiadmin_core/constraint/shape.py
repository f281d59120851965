"""What one request's answer must look like. Made by `dialects.choice`; made into a grammar by `constraint.answer`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..dialects.dialect import CallGrammar
from ..specs.constraint import Constraint


@dataclass(frozen=True, kw_only=True)
class AnswerShape:
    """The defaults are those of an answer that may look like anything."""

    format: Constraint | None = None
    """Of an answer that calls nothing."""
    header: str = ""
    """What stands before such an answer, as text."""
    calls: CallGrammar | None = None
    """Of the calls in it; None where they are free, or none are told apart."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Lark grammars that `calls` refers to, by name."""
    required: bool = False
    """Whether there have to be calls."""
    parallel: bool = True
    """Whether there may be several sections of calls."""

    @property
    def free(self) -> bool:
        """Whether anything goes."""
        return self.format is None and self.calls is None
