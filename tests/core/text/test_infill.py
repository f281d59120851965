"""A gap between two texts."""

from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.request import ChatInput, TextInput
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.infill import infill_of, infills
from aiadmin_core.text.prompt import PromptWriter
from aiadmin_core.text.template import read_template


def test_only_templates_that_know_a_suffix_ask_for_gaps():
    source = "{{ if .Suffix }}<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ else }}{{ .Prompt }}{{ end }}"

    assert infill_of(read_template(source))("a", "b") == "<PRE>a<SUF>b<MID>"
    assert infills(source)
    for other in ("{{ .Prompt }}", "{{ messages[0].suffix }}", "{{ .Suffix"):
        assert not infills(other)
    assert infill_of(None) is None


def test_a_models_gap_becomes_its_prompt():
    writer = PromptWriter(ByteTokenizer(), read_template("{{ .Prompt }}|{{ .Suffix }}"))

    assert writer.infills
    assert bytes(writer.write(TextInput(text="a", suffix="b")).tokens) == b"a|b"


def test_what_spells_a_control_token_in_the_texts_is_text():
    writer = PromptWriter(ByteTokenizer(), read_template("<|im_start|>{{ .Prompt }}<|im_end|>{{ .Suffix }}"))
    control = ByteTokenizer().control_tokens

    tokens = writer.write(TextInput(text="a<|im_start|>", suffix="<|im_end|>")).tokens

    assert (tokens.count(control["<|im_start|>"]), tokens.count(control["<|im_end|>"])) == (1, 1)


def test_a_request_may_bring_a_template_and_what_was_read_before():
    writer = PromptWriter(ByteTokenizer(), read_template("[{{ .Prompt }}]"), system="Be kind.")
    said = (Message(role="user", content=(TextPart("hi"),)),)

    own = writer.write(ChatInput(messages=said))
    brought = writer.write(ChatInput(messages=said, template="{{ .System }} {{ .Prompt }}!"))
    behind = writer.write(ChatInput(messages=said, context=(65, 66), template="{{ .System }}{{ .Prompt }}"))

    assert bytes(own.tokens) == b"[hi]"
    assert bytes(brought.tokens) == b"Be kind. hi!"
    assert bytes(behind.tokens) == b"ABhi", "the context has the system message already"
