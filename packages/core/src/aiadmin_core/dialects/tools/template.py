"""The dialect of a model whose chat template writes calls: its form is read off the template."""

from collections.abc import Mapping, Sequence

from ...specs.content import Tool
from ...specs.request import ToolChoice
from ..dialect import CallGrammar, Dialect
from .form import CallForm
from .reading import FormParser


class FormDialect(Dialect):
    """Calls in one `CallForm`. `markers` are the control tokens in it."""

    calls = True

    def __init__(self, name: str, form: CallForm, control_texts: Sequence[str] = ()) -> None:
        self.name = name
        self.form = form
        self.markers = tuple(text for text in control_texts if text and text in form.texts)

    def recognises(self, template: str) -> bool:
        return True  # it is made for one template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> FormParser:
        return FormParser(self.form, tools)

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        return self.form.grammar(tools, control_tokens, parallel=choice.parallel)
