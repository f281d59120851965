"""Muse Glimmer: messages with a recipient, which is the model itself, the user, or a function.
` to=self<|message|>Hm.<|eom|><|start|>assistant to=f<|message|><atem:function_calls>...</atem:function_calls><|eot|>`
"""

import re
from collections.abc import Mapping, Sequence

from ..constraint.lark import TEXT, literal, marker
from ..specs.content import Tool
from ..specs.request import ToolChoice
from .channels import Channel, ChannelParser, Headers
from .dialect import CallGrammar, Dialect
from .tools.form import CallForm, Tags
from .tools.reading import FormParser

START, MESSAGE, MORE, OVER = "<|start|>", "<|message|>", "<|eom|>", "<|eot|>"
FORM = CallForm(
    begin="<atem:function_calls>\n",
    head='<atem:invoke name="',
    mid='">',
    tail="\n</atem:invoke>",
    end="\n</atem:function_calls>",
    tags=Tags(
        before='\n<atem:parameter name="',
        mids=dict.fromkeys(("string", "boolean", "number", "array", "object"), '">'),
        after="</atem:parameter>",
    ),
)


class Muse(Dialect):
    """Thoughts and calls in one."""

    name = "muse"
    reasoning = calls = True
    markers = (START, MESSAGE, MORE, OVER)
    answer_header = f" to=user{MESSAGE}"

    def recognises(self, template: str) -> bool:
        return "<atem:function_calls>" in template and "to=self" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> ChannelParser:
        def channel(header: str) -> Channel:
            found = re.search(r"to=([\w./-]+)", header)
            recipient = found[1] if found else "user"
            if recipient == "self":
                return Channel("thought")
            if recipient == "user" or not tools:
                return Channel("text")
            return Channel("call", inner=FormParser(FORM, tools))

        return ChannelParser(
            Headers(
                begins=(START, " to=", "to="),
                over=MESSAGE,
                ends=(MORE, OVER, START),
                channel=channel,
                ignored=(START, f"{START}assistant"),
            )
        )

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        return f"start: thought* @answer\nTEXT: {TEXT}\n" + "\n".join(self._messages(control_tokens))

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        form = FORM.grammar(tools, control_tokens, parallel=False)
        message, names = marker(MESSAGE, control_tokens), " | ".join(literal(tool.name) for tool in tools)
        rules = [*form.rules, *self._messages(control_tokens)]
        rules.append(f'calling: " to=" ({names}) {message} {literal(form.opening)} {form.body}')
        more = f'({marker(MORE, control_tokens)} {marker(START, control_tokens)} "assistant" calling)*'
        return CallGrammar(
            opening="",
            body=f"calling {more if choice.parallel else ''}",
            rules=tuple(rules),
            auto=f'(thought | said)* (section | " to=user" {message} TEXT)',
        )

    def _messages(self, control_tokens: Mapping[str, int]) -> list[str]:
        """The rules of messages that others follow."""
        message, more, start = (marker(text, control_tokens) for text in (MESSAGE, MORE, START))
        body = f"TEXT {more}" if MORE in control_tokens else "up_to_more"
        rules = [] if MORE in control_tokens else [f"up_to_more[lazy]: {TEXT} {more}"]
        return [
            *rules,
            f'thought: " to=self" {message} {body} {start} "assistant"',
            f'said: " to=user" {message} {body} {start} "assistant"',
        ]
