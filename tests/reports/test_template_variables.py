"""Variables of the chat template that the server sets itself are refused by name, not taken and ignored."""

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.request import ChatInput
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import CHATML, ChatTemplate
from aiadmin_core.text.prompt import PromptWriter


def render(options):
    writer = PromptWriter(ByteTokenizer(), ChatTemplate(CHATML))
    chat = ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),), template_options=options)
    return writer.write(chat)


@pytest.mark.parametrize("name", ["add_generation_prompt", "messages", "tools", "bos_token", "strftime_now", "range"])
@pytest.mark.parametrize("value", [False, None, [], "x"])
def test_a_variable_of_the_servers_is_refused_by_name(name, value):
    with pytest.raises(BadRequest) as caught:
        render({"enable_thinking": False, name: value})
    assert caught.value.param == f"chat_template_kwargs.{name}"


@pytest.mark.parametrize("options", [{"add_generation_prompt": True}, {"enable_thinking": True, "documents": None}, {}])
def test_what_asks_for_nothing_else_is_taken(options):
    assert render(options).tail.endswith("assistant\n")
