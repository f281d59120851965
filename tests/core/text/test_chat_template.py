"""Chat templates, real ones too."""

import json
from contextlib import suppress

import pytest

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart
from aiadmin_core.text.chat_template import CHATML, ChatTemplate
from aiadmin_core.text.sandbox import to_json

USER = (Message(role="user", content=(TextPart("Hello there"),)),)


def render(source, messages=USER, **options):
    return ChatTemplate(source, bos="<s>", eos="</s>").render(messages, **options)


def test_a_conversation_is_rendered_up_to_the_assistants_turn():
    assert render(CHATML) == "<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n"


def test_templates_get_the_variables_they_expect():
    source = "{{ bos_token }}{{ messages[0].role }}{{ tools is none }}{{ documents is none }}{{ mood }}{{ eos_token }}"
    assert render(source, options={"mood": "fine"}) == "<s>userTrueTruefine</s>"


@pytest.mark.parametrize(
    "options",
    [
        {"add_generation_prompt": False},
        {"messages": []},
        {"tools": None},
        {"bos_token": "<s>"},
        {"eos_token": ""},
        {"raise_exception": None},
        {"namespace": {}},
        {"continue_final_message": True},
        {"chat_template": "x"},
    ],
)
def test_variables_that_are_not_the_callers_are_found(options):
    (name,) = options
    template = ChatTemplate(CHATML)

    assert template.refused_option({"mood": 1, "documents": [], "enable_thinking": False, **options}) == name
    assert template.refused_option({"mood": 1, "add_generation_prompt": True}) is None


def test_options_do_not_replace_our_variables():
    source = "{{ bos_token }}{{ messages[0].content }}{{ add_generation_prompt }}"
    options = {"bos_token": "evil", "messages": [], "add_generation_prompt": False}

    assert render(source, options=options) == "<s>Hello thereTrue"


def test_what_the_template_says_is_a_bad_request():
    with pytest.raises(BadRequest, match="System role not supported") as caught:
        render("{{ raise_exception('System role not supported') }}")
    assert caught.value.param == "messages"


@pytest.mark.parametrize("source", ["{{ messages[99].content.x }}", "{{ 1 / 0 }}", "{{ ''.__class__.mro() }}"])
def test_a_template_that_fails_is_a_bad_request(source):
    """The last one tries to leave the sandbox."""
    with pytest.raises(BadRequest, match="cannot render this conversation"):
        render(source)


@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_arguments_nested_too_deep_are_a_bad_request(depth):
    call = ToolCall(id="1", name="f", arguments="[" * depth + "]" * depth)
    with suppress(BadRequest):
        render(CHATML, [*USER, Message(role="assistant", tool_calls=(call,))])


def test_a_template_may_collect_in_lists_of_its_own_and_changes_no_other_conversation():
    template = ChatTemplate(
        "{% set ids = [] %}{% set _ = ids.append(7) %}{% set _ = messages.pop() %}{{ ids }}{{ messages }}"
    )
    messages = [Message(role="user", content=(TextPart("hi"),))]

    assert [template.render(messages), template.render(messages)] == ["[7][]", "[7][]"]


def test_a_template_that_adds_to_what_it_goes_through_is_stopped():
    with pytest.raises(BadRequest, match="SecurityError"):
        render("{% set ids = [1] %}{% for one in ids %}{% set _ = ids.append(one) %}{% endfor %}")


@pytest.mark.parametrize("source", ["{{ messages.clear() }}", "{{ messages.__class__.mro() }}", "{{ tools.sort() }}"])
def test_what_a_template_has_no_business_with_is_refused(source):
    with pytest.raises(BadRequest):
        render(source)


def test_a_template_that_does_not_compile_is_named():
    with pytest.raises(BadRequest, match="cannot be compiled"):
        ChatTemplate("{% for %}")


def test_blocks_leave_no_white_space():
    assert render("{% if true %}\n  {% if true %}\nx\n  {% endif %}\n{% endif %}") == "x\n"


def test_loops_can_break_and_training_marks_are_ignored():
    source = "{% for m in [1, 2] %}{% generation %}{{ m }}{% endgeneration %}{% break %}{% endfor %}"
    assert render(source) == "1"


def test_dates_can_be_written():
    assert len(render("{{ strftime_now('%Y') }}")) == 4


def test_json_keeps_its_order_and_does_not_escape_html():
    assert to_json({"b": "<é>", "a": 1}) == '{"b": "<é>", "a": 1}'
    assert to_json({"b": 1}, indent=2) == '{\n  "b": 1\n}'
    assert json.loads(to_json("é🙂", ensure_ascii=True)) == "é🙂"
    assert to_json("é🙂", ensure_ascii=True).isascii()


def test_templates_that_go_through_content_parts_get_parts():
    source = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
    template = ChatTemplate(source)

    assert template.shape.content_parts
    assert template.render(USER) == "Hello there"


def test_templates_that_take_either_get_a_string():
    source = "{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}{% endfor %}"
    assert not ChatTemplate(source).shape.content_parts


def test_templates_that_append_arguments_get_text():
    source = (
        "{% for m in messages %}{{ m.content }}"
        "{% for call in m.tool_calls or [] %}{{ 'call ' + call.function.arguments }}{% endfor %}{% endfor %}"
    )
    assert ChatTemplate(source).shape.arguments_text
    assert not ChatTemplate(source.replace("arguments }}", "arguments | tojson }}")).shape.arguments_text


def test_templates_that_always_go_through_the_tools_get_a_list():
    source = "{% for tool in tools %}{{ tool.function.name }}{% endfor %}{{ messages[0].content }}"
    template = ChatTemplate(source)

    assert template.shape.tools_list
    assert template.render(USER, [Tool(name="f")]) == "fHello there"


def conversation(*, system):
    turns = [("system", "Be brief.")] if system else []
    turns += [("user", "Hello there"), ("assistant", "General Kenobi"), ("user", "So uncivilised")]
    return [Message(role=role, content=(TextPart(content),)) for role, content in turns]


def real_templates(shared_data):
    paths = sorted((shared_data / "chat_templates").glob("*.jinja"))
    assert len(paths) >= 58
    return paths


def test_every_real_template_renders_a_conversation_or_says_why_not(shared_data):
    """58 templates of published models. One cannot do without a variable of its own (`functions`); some have no
    system role and say so."""
    refused = {}
    for path in real_templates(shared_data):
        template = ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>")
        try:
            rendered = template.render(conversation(system=False))
        except BadRequest as error:
            refused[path.stem] = str(error)
            continue
        assert "Hello there" in rendered, path.stem
        assert "So uncivilised" in rendered, path.stem
        if "System role not supported" not in template.source:
            assert "Be brief." in template.render(conversation(system=True)), path.stem

    assert not refused


def test_real_templates_that_know_tools_show_calls_and_results(shared_data):
    """As many as can: what a template does with tools is its own."""
    call = ToolCall(id="call00001", name="get_weather", arguments='{"city": "Oberammergau"}')
    result = ToolResultPart(tool_call_id="call00001", content=(TextPart("Sn0wfall"),))
    messages = [
        Message(role="user", content=(TextPart("Weather?"),)),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content=(result,)),
    ]
    tools = [Tool(name="get_weather", description="Tells it", parameters={"type": "object", "properties": {}})]
    shown = 0
    for path in real_templates(shared_data):
        template = ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>")
        try:
            rendered = template.render(messages, tools)
        except BadRequest:
            continue
        shown += "Oberammergau" in rendered and "Sn0wfall" in rendered

    assert shown >= 45
