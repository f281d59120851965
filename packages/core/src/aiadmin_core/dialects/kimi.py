"""Kimi K3: thoughts, what is said and calls in elements of their own,
`<|open|>think<|sep|>...<|close|>think<|sep|><|open|>response<|sep|>...<|close|>response<|sep|><|open|>tools<|sep|>...`.
"""

from collections.abc import Mapping, Sequence

from ..constraint.lark import TEXT, marked, marker
from ..specs.content import Tool
from ..specs.request import ToolChoice
from .channels import Channel, ChannelParser, Headers
from .dialect import CallGrammar, Dialect
from .tools.form import NUMBER, CallForm, Tags
from .tools.reading import FormParser

OPEN, CLOSE, SEP = "<|open|>", "<|close|>", "<|sep|>"
THINK, RESPONSE, TOOLS = (f"{OPEN}{name}{SEP}" for name in ("think", "response", "tools"))
FORM = CallForm(
    begin=TOOLS,
    head=f'{OPEN}call tool="',
    mid=f'" index="{NUMBER}"{SEP}',
    tail=f"{CLOSE}call{SEP}",
    end=f"{CLOSE}tools{SEP}",
    tags=Tags(
        before=f'{OPEN}argument key="',
        mids={kind: f'" type="{kind}"{SEP}' for kind in ("string", "boolean", "number", "array", "object")},
        after=f"{CLOSE}argument{SEP}",
    ),
)


class Kimi(Dialect):
    """Thoughts and calls in one."""

    name = "kimi"
    reasoning = calls = True
    markers = (OPEN, CLOSE, SEP)
    answer_header = RESPONSE

    def recognises(self, template: str) -> bool:
        return all(text in template for text in (*self.markers, "response", "tools"))

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> ChannelParser:
        def channel(header: str) -> Channel | None:
            opens, name = header.startswith(OPEN), header.removeprefix(OPEN).removeprefix(CLOSE)
            if name not in ("think", "response", "tools", "message"):
                return None
            if opens and name == "tools" and tools:
                calls = FormParser(FORM, tools)
                calls.feed(TOOLS)
                return Channel("call", inner=calls)
            return Channel("thought" if opens and name == "think" else "text")

        headers = Headers(begins=(OPEN, CLOSE), over=SEP, ends=(OPEN, CLOSE), channel=channel, ignored=(OPEN, CLOSE))
        inside = Channel("thought") if prompt_tail.endswith(THINK) else None
        return ChannelParser(headers, channel=inside)

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        opened = prompt_tail.endswith(THINK)
        start = "thought @answer" if opened else f"({marked(THINK, control_tokens)} thought)? @answer"
        return "\n".join([f"start: {start}", f"TEXT: {TEXT}", *_up_to_close("thought", "think", control_tokens)])

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        form = FORM.grammar(tools, control_tokens, parallel=choice.parallel)
        response, closed = (marked(text, control_tokens) for text in (RESPONSE, f"{CLOSE}response{SEP}"))
        return CallGrammar(
            opening="",
            body=f"({response} {closed})? {marked(form.opening, control_tokens)} {form.body}",
            rules=(*form.rules, *_up_to_close("said", "response", control_tokens)),
            auto=f"({response} said)? section | {response} TEXT",
        )


def _up_to_close(rule: str, name: str, control_tokens: Mapping[str, int]) -> list[str]:
    """The rule of a text and the end of its element."""
    close = marker(CLOSE, control_tokens)
    if CLOSE in control_tokens:
        return [f"{rule}: TEXT {close} {marked(name + SEP, control_tokens)}"]
    return [f"{rule}_text[lazy]: {TEXT} {close}", f"{rule}: {rule}_text {marked(name + SEP, control_tokens)}"]
