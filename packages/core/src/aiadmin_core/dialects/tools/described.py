"""Calls on models whose template shows the tools and tells the model how to call them, but writes no calls itself:
Granite 3's `<|tool_call|>` "followed by a JSON list". Calls in the history are written so, as the model's own text.
"""

import json
import re

import msgspec

from ...specs.content import TextPart, plain_text
from ...specs.request import ChatInput
from ...text.template import Template
from .form import CallForm
from .template import FormDialect

_JSON_LIST = re.compile(r"(<\|?\w*tool_call\w*\|?>)\W+(?:is |are )?followed by a JSON list", re.IGNORECASE)


class DescribedDialect(FormDialect):
    """See the module. `marker` stands before the list."""

    def __init__(self, marker: str, control_texts: tuple[str, ...] = ()) -> None:
        form = CallForm(
            begin=f"{marker}[", head='{"name": "', mid='", "arguments": ', tail="}", separator=", ", end="]"
        )
        super().__init__("described", form, control_texts)
        self._marker = marker

    def rewrite(self, chat: ChatInput) -> ChatInput:
        messages = list(chat.messages)
        for index, message in enumerate(messages):
            if message.tool_calls:
                calls = ", ".join(
                    f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}'
                    for call in message.tool_calls
                )
                text = TextPart(f"{plain_text(message.content)}{self._marker}[{calls}]")
                messages[index] = msgspec.structs.replace(message, content=(text,), tool_calls=())
        return msgspec.structs.replace(chat, messages=tuple(messages))


def described(template: Template, control_texts: tuple[str, ...] = ()) -> DescribedDialect | None:
    """The dialect of what `template` tells its model; None where it tells nothing of the kind."""
    found = _JSON_LIST.search(template.source)
    return DescribedDialect(found[1], control_texts) if found and "tools" in template.source else None
