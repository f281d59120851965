"""Harmony, the format of gpt-oss: an answer is a few messages, each with a channel and perhaps a recipient.

`<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...<|return|>`; a call is a
message to a function: `<|channel|>commentary to=functions.f <|constrain|>json<|message|>{...}<|call|>`, or with the
recipient in front of the channel, as the chat template has it
(https://cookbook.openai.com/articles/openai-harmony).
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial

from ..constraint.lark import TEXT, marker
from ..specs.content import Tool
from ..specs.request import ToolChoice
from .channels import Channel, ChannelParser, Headers
from .dialect import CallGrammar, Dialect
from .tools.form import arguments_rule, literal_name

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
END, RETURN, CALL = "<|end|>", "<|return|>", "<|call|>"


class Harmony(Dialect):
    """Thoughts and calls in one."""

    name = "harmony"
    reasoning = calls = True
    markers = (START, CHANNEL, MESSAGE, CONSTRAIN, END, RETURN, CALL)
    answer_header = f"{CHANNEL}final{MESSAGE}"

    def recognises(self, template: str) -> bool:
        return CHANNEL in template and MESSAGE in template and START in template and "analysis" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> ChannelParser:
        return ChannelParser(
            Headers(
                begins=(CHANNEL, START, " to=", "to="),
                over=MESSAGE,
                ends=(END, RETURN, CALL, START),
                channel=partial(_channel, calls=bool(tools)),
                ignored=(START, f"{START}assistant"),
            )
        )

    def before_answer(self, prompt_tail: str, control_tokens: Mapping[str, int]) -> str | None:
        mark = {text: marker(text, control_tokens) for text in self.markers}
        return (
            f'start: thought? @answer\nTEXT: {TEXT}\nthought: {mark[CHANNEL]} "analysis" {mark[MESSAGE]} '
            f'{_up_to(END, control_tokens)} {mark[START]} "assistant"\n{_rule(END, control_tokens)}'
        )

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        mark = {text: marker(text, control_tokens) for text in self.markers}
        rules = [_rule(END, control_tokens)] if END not in control_tokens else []
        calls: list[str] = []
        for index, tool in enumerate(tools):
            name = literal_name(tool)
            behind = f'{mark[CHANNEL]} "commentary to=functions." {name} " " {mark[CONSTRAIN]} "json"'
            before = f'" to=functions." {name} {mark[CHANNEL]} "commentary json"'
            rules.append(arguments_rule(tool, f"arguments{index}"))
            rules.append(f"call{index}: ({behind} | {before}) {mark[MESSAGE]} arguments{index}")
            calls.append(f"call{index}")
        said = f'{mark[CHANNEL]} "commentary" {mark[MESSAGE]} {_up_to(END, control_tokens)}'
        rules.append(f'said: {said} {mark[START]} "assistant"')
        rules.append(f'final: {mark[CHANNEL]} "final" {mark[MESSAGE]} TEXT')
        return CallGrammar(opening="", body=" | ".join(calls), rules=tuple(rules), auto="said* (section | final)")


def _up_to(end: str, control_tokens: Mapping[str, int]) -> str:
    return f"TEXT {marker(end, control_tokens)}" if end in control_tokens else "up_to_end"


def _rule(end: str, control_tokens: Mapping[str, int]) -> str:
    return "" if end in control_tokens else f"up_to_end[lazy]: TEXT {marker(end, control_tokens)}"


def _channel(header: str, *, calls: bool) -> Channel:
    """Messages of unknown channels are the answer's."""
    recipient = re.search(r"to=functions\.([\w./-]+)", header)
    channel = re.search(re.escape(CHANNEL) + r"\s*(\w+)", header)
    if recipient and calls:
        return Channel("call", recipient[1])
    return Channel("thought" if channel and channel[1] == "analysis" else "text")
