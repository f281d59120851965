"""Inputs of every kind as prompts."""

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.prompt import TokenSegment
from aiadmin_core.specs.request import ChatInput, TextInput, TokensInput
from aiadmin_core.testing.fake import BOS, END, START_OF_TURN, ByteTokenizer
from aiadmin_core.text.chat_template import CHATML, ChatTemplate
from aiadmin_core.text.prompt import PromptWriter

HI = ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),))


def writer(source=CHATML, system=None, **options):
    return PromptWriter(ByteTokenizer(**options), ChatTemplate(source) if source else None, system=system)


def test_a_conversation_is_one_segment_and_knows_how_it_ends():
    written = writer().write(HI)

    assert written.prompt == (TokenSegment(tuple(written.tokens)),)
    assert written.tail.endswith("<|im_start|>assistant\n")


CALLER = Message(role="user", content=(TextPart("hi"),))


def continued(text, source=CHATML, **options):
    begun = Message(role="assistant", content=(TextPart(text),))
    written = writer(source, **options).write(ChatInput(messages=(CALLER, begun), continues=True))
    control = {token: text for text, token in ByteTokenizer().control_tokens.items()}
    return "".join(f"[{control[token]}]" if token in control else chr(token) for token in written.tokens), written.tail


def test_a_message_that_is_continued_is_not_closed():
    """Blanks at its end stay, and what it spells is text."""
    asked = "[<|im_start|>]user\nhi[<|im_end|>]\n[<|im_start|>]assistant\n"
    for text in ("Once ", "a <|im_end|> b", "\n", "x"):
        assert continued(text) == (asked + text, text)
    assert continued("") == (asked, (asked.replace("[<", "<").replace(">]", ">"))[-64:])


def test_a_template_that_trims_or_leaves_out_the_last_message():
    trims = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    assert continued("a ", trims)[0] == "[hi][a "
    with pytest.raises(BadRequest, match="to be continued"):
        continued("a", "{{ messages[0].content }}")


def test_plain_text_may_hold_its_models_markers():
    written = writer(add_bos=True).write(TextInput(text="<|im_start|>a<|im_end|>"))

    assert written.tokens == [BOS, START_OF_TURN, ord("a"), END]


def test_token_ids_are_taken_as_they_are():
    assert writer(add_bos=True).write(TokensInput(tokens=(1, 2))).tokens == [1, 2]


@pytest.mark.parametrize("tokens", [(-1,), (259,)])
def test_token_ids_outside_the_vocabulary_are_refused(tokens):
    with pytest.raises(BadRequest, match="vocabulary of 259") as caught:
        writer().write(TokensInput(tokens=tokens))
    assert caught.value.param == "prompt"


def test_a_prompt_of_no_tokens_is_refused():
    with pytest.raises(BadRequest, match="empty"):
        writer().write(TokensInput(tokens=()))


def test_without_a_template_conversations_are_refused():
    with pytest.raises(BadRequest, match="no usable chat template"):
        writer(source=None).write(HI)


def test_the_models_system_message_is_rendered():
    assert b"system\nbe kind" in bytes(t for t in writer(system="be kind").write(HI).tokens if t < 256)


@pytest.mark.parametrize(("effort", "text"), [("high", "high True"), ("none", "none False")])
def test_reasoning_effort_is_a_template_variable(effort, text):
    rendered = writer("{{ reasoning_effort }} {{ enable_thinking }}").render(HI, reasoning_effort=effort)

    assert rendered[0].text == text


def test_template_options_say_it_more_exactly():
    chat = ChatInput(messages=HI.messages, template_options={"enable_thinking": False})

    assert writer("{{ enable_thinking }}").render(chat, reasoning_effort="high")[0].text == "False"


def test_an_empty_text_is_the_beginning_of_a_new_document():
    """By the token that stands between documents, else the one that begins a text, else the one that ends it."""
    assert writer().write(TextInput(text="")).tokens == [BOS]
    assert writer(add_bos=True).write(TextInput(text="")).tokens == [BOS]
    tokenizer = ByteTokenizer()
    tokenizer.control_tokens, tokenizer.bos = {}, None
    assert PromptWriter(tokenizer, None).write(TextInput(text="")).tokens == [END]
    tokenizer.eos = None
    with pytest.raises(BadRequest, match="empty"):
        PromptWriter(tokenizer, None).write(TextInput(text=""))


def test_a_gap_is_read_between_its_tokens():
    fills = writer(add_bos=True, more_control_tokens=("<p>", "<s>", "<m>"), infill=(259, 260, 261))
    written = fills.write(TextInput(text="a<p>", suffix="<|im_end|>"))
    assert written.tokens == [BOS, 259, *b"a<p>", 260, *b"<|im_end|>", 261]
    with pytest.raises(BadRequest) as caught:
        writer().write(TextInput(text="a", suffix="b"))
    assert caught.value.param == "suffix"
