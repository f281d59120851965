"""Functionary 3.2: messages behind `>>>` and whom they are for, `all` or a function, as in
`>>>all\\nHello>>>f\\n{"a": 1}`; the prompt ends in the first `>>>`.
"""

from collections.abc import Mapping, Sequence

from ..constraint.lark import TEXT, literal
from ..constraint.notation import ASCII
from ..specs.content import Tool
from ..specs.request import ToolChoice
from .channels import Channel, ChannelParser, Headers
from .dialect import CallGrammar, Dialect
from .tools.form import arguments_rules

HEAD = ">>>"


class Functionary(Dialect):
    """What is said and calls in one; it does not think."""

    name = "functionary"
    reasoning = calls = True
    answer_header = "all\n"

    def recognises(self, template: str) -> bool:
        return f"{HEAD}all" in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> ChannelParser:
        channels = {"all": Channel("text"), **{tool.name: Channel("call", tool.name) for tool in tools}}
        headers = Headers(
            begins=(HEAD,),
            over="\n",
            ends=(HEAD,),
            channel=lambda header: channels.get(header.removeprefix(HEAD).strip()),
        )
        return ChannelParser(headers, inside=prompt_tail.endswith(HEAD))

    def call_grammar(
        self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]
    ) -> CallGrammar | None:
        rules = [*ASCII.rules]
        for index, tool in enumerate(tools):
            rules += arguments_rules(tool, f"arguments{index}")
        calls = [f'{literal(tool.name)} "\\n" arguments{index}' for index, tool in enumerate(tools)]
        rules += [f"one: {' | '.join(calls)}", f'said[lazy]: {TEXT} "{HEAD}"']
        more = f'("{HEAD}" one)*' if choice.parallel else ""
        return CallGrammar(
            opening="", body=f"one {more}", rules=tuple(rules), auto='"all\\n" TEXT | ("all\\n" said)? section'
        )
