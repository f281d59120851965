"""The template is the truth: what it writes for calls is taken by the grammar made of it, and read back."""

import json
from functools import cache

import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.dialects.choice import to_shape
from aiadmin_core.dialects.dialect import CallPiece, PlainText
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart
from aiadmin_core.specs.request import ChatInput, GenerateRequest, ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate

VOCABULARY = ByteTokenizer().constraint_vocabulary()
QUESTION = "Weather here?"
USER = Message(role="user", content=(TextPart(QUESTION),))


def described(schema, **more):
    """Templates insist on descriptions."""
    return {"description": "What it is.", **schema, **more}


TEXT, NUMBER = described({"type": "string"}), described({"type": "number"})
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": TEXT,
        "days": described({"type": "integer"}),
        "warm": described({"type": "boolean"}),
        "ratio": NUMBER,
        "note": described({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "tags": described({"type": "array", "items": {"type": "string"}}),
        "place": described(
            {"type": "object", "properties": {"lat": NUMBER, "name": TEXT, "path": described({"type": "array"})}},
            additionalProperties=False,
        ),
    },
    "required": ["city"],
    "additionalProperties": False,
}
PARAMETERS["properties"]["place"]["properties"]["path"]["items"] = {
    "type": "object",
    "properties": {"x": {"type": "integer", "description": "X."}},
}
NOTHING = {"type": "object", "properties": {}}
TOOLS = [Tool(name=name, description="Tells it.", parameters=PARAMETERS) for name in ("get_weather", "get_time")]
TOOLS.append(Tool(name="tell_all", description="Takes nothing.", parameters=NOTHING))
PLACE = {"lat": 1.5, "name": "x", "path": [{"x": 1}, {"x": 2}]}
CALLS = {
    "one": [("get_weather", {"city": "Bonn", "days": 3})],
    "nested": [("get_weather", {"city": "a", "days": -3, "ratio": 0.5, "tags": ["a", "b c"], "place": PLACE})],
    "unicode": [("get_weather", {"city": "Köln 🙂", "place": {"name": "Łódź"}})],
    "hard": [("get_weather", {"city": "Sankt \"X\" { <b>\nam \\ See\t'q'", "warm": False})],
    "like a number": [("get_weather", {"city": "5"}), ("get_time", {"city": "true"})],
    "a text that may be absent": [("get_weather", {"city": "a", "note": "it's 5 o'clock"})],
    "empty": [("get_weather", {"city": "", "tags": [], "place": {}})],
    "spaces": [("get_weather", {"city": "  x\n"})],
    "without arguments": [("tell_all", {})],
    "two": [("get_weather", {"city": "Bonn", "days": 3, "warm": True}), ("get_time", {"city": "Trier"})],
    "two, one without arguments": [("tell_all", {}), ("get_time", {"city": "Trier"})],
}
WRITE_NO_CALLS = {
    "HuggingFaceTB-SmolLM3-3B",
    "LFM2-8B-A1B",
    "LFM2.5-Instruct",
    "google-gemma-2-2b-it",
    "ibm-granite-granite-3.3-2B-Instruct",
    "llama-cpp-rwkv-world",
    "microsoft-Phi-3.5-mini-instruct",
}
"""Of the templates at hand."""


@cache
def templates(shared_data):
    """Names, templates, and how they speak."""
    paths = sorted((shared_data / "chat_templates").glob("*.jinja"))
    found = [(path.stem, ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>")) for path in paths]
    return [(name, template, find_speech(template, OURS)) for name, template in found]


def written(template, calls):
    """What stands behind the question: up to where an assistant's answer begins, and with an answer of `calls`, their
    results, and what the template writes behind these."""
    asked = tuple(
        ToolCall(id=f"callabcd{n}", name=name, arguments=json.dumps(arguments))
        for n, (name, arguments) in enumerate(calls)
    )
    results = [
        Message(role="tool", content=(ToolResultPart(tool_call_id=call.id, content=(TextPart("R"),)),))
        for call in asked
    ]
    conversation = [USER, Message(role="assistant", tool_calls=asked), *results]
    texts = (template.render([USER], TOOLS), template.render(conversation, TOOLS))
    return tuple(text.rpartition(QUESTION)[2] for text in texts)


def answer(template, speech, calls):
    """The end of a prompt, and what a model would write behind it. Histories leave thoughts out."""
    prompt, text = written(template, calls)
    end = getattr(speech.reasoning, "end", None)
    opened = end is not None and speech.reasoning.opened(prompt)
    ours = text.partition(calls[0][0])[0]
    if text.startswith(prompt):
        return prompt, text[len(prompt) :]
    if end is not None and end in ours:
        text = text.partition(end)[2]
    elif (same := next((n for n in range(len(prompt), 9, -1) if prompt[-n:] in ours), 0)) and not opened:
        text = text[ours.rindex(prompt[-same:]) + same :]
    else:
        shared = next(n for n, (one, other) in enumerate(zip(prompt, text, strict=False)) if one != other)
        text = text[max(text.rfind("<", 0, shared + 1), text.rfind(">", 0, shared + 1) + 1) :]
    return prompt, end + text if opened else text


def taken_by(speech, tail, text):
    """As much of `text` as can be an answer that has to call."""
    chat = ChatInput(messages=(USER,), tools=tuple(TOOLS))
    shape = to_shape(GenerateRequest(id=1, input=chat, tool_choice=ToolChoice(mode="required")), speech, {})
    state = LLMatcher(VOCABULARY, to_grammar(shape, speech.before_answer(tail, {}), {}), log_level=0)
    assert not state.is_error(), state.get_error()
    accepted = 0
    for n, byte in enumerate(text.encode(), 1):
        if not state.try_consume_tokens([byte]):
            break
        accepted = n if state.is_accepting() else accepted
    return text.encode()[:accepted].decode()


def read(parser, text, n_at_once):
    calls = []
    pieces = [piece for at in range(0, len(text), n_at_once) for piece in parser.feed(text[at : at + n_at_once])]
    for piece in (*pieces, *parser.end("")):
        if isinstance(piece, CallPiece):
            if piece.name is not None:
                calls.append([piece.name, ""])
            calls[-1][1] += piece.arguments
    return [(name, json.loads(arguments)) for name, arguments in calls]


def speech_of(template):
    return find_speech(template, OURS)


def test_every_template_that_writes_calls_has_a_dialect_of_its_own(shared_data):
    generic = set()
    for name, _, speech in templates(shared_data):
        form = getattr(speech.calls, "form", None)
        thoughts = speech.reasoning.name if speech.reasoning else "-"
        print(f"{name:60} {thoughts:12} {speech.calls.name:12} {form and form.opening}")
        if speech.calls.name == "generic":
            generic.add(name)

    assert generic <= WRITE_NO_CALLS


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_a_template_writes_are_taken_by_its_grammar_and_read_back(shared_data, name):
    calls, n_read, different = CALLS[name], 0, []
    for model, template, speech in templates(shared_data):
        if model in WRITE_NO_CALLS:
            continue
        try:
            tail, text = answer(template, speech, calls)
        except BadRequest:  # some take one call at a time, or want more of a schema
            continue
        expected = calls if calls[-1][0] in text else calls[:1]
        taken = taken_by(speech, tail, text)
        found = [read(speech.parser(tail, TOOLS), taken, n_at_once) for n_at_once in (1, 5, 10_000)]
        if found != [expected] * 3:
            different.append((model, found, taken, text[:300]))
        n_read += 1

    assert different == []
    assert n_read >= 44


OTHER_FORMS = {
    "pythonic": "[{% for call in m.tool_calls %}{{ call.function.name }}({% for k, v in "
    "call.function.arguments.items() %}{{ k }}={{ v | tojson if v is string else v }}{{ ', ' if not loop.last }}"
    "{% endfor %}){{ ', ' if not loop.last }}{% endfor %}]",
    "a line each": "<calls>{% for call in m.tool_calls %}{{ call.function.name }}({% for k, v in "
    "call.function.arguments.items() %}{{ k }}={{ v | tojson if v is string else v }}{{ ', ' if not loop.last }}"
    "{% endfor %}){{ '\\n' if not loop.last }}{% endfor %}</calls>",
    "a list behind a marker": '<|calls|>[{% for call in m.tool_calls %}{"name": {{ call.function.name | tojson }}, '
    "\"arguments\": {{ call.function.arguments | tojson }}}{{ ', ' if not loop.last }}{% endfor %}]",
    "escaped": '{% for call in m.tool_calls %}<call>{"name": "{{ call.function.name }}", "arguments": '
    "{{ call.function.arguments | tojson(ensure_ascii=True) }}}</call>{% endfor %}",
    "name and arguments": "{% for call in m.tool_calls %}[TOOL]{{ call.function.name }}[ARGS]"
    "{{ call.function.arguments | tojson }}{% endfor %}",
    "tags": "{% for call in m.tool_calls %}<f={{ call.function.name }}>{% for k, v in "
    "call.function.arguments.items() %}\n<p={{ k }}>\n{{ v if v is string else v | tojson }}\n</p>{% endfor %}"
    "\n</f>{% endfor %}",
    "tags, as Python": "{% for call in m.tool_calls %}<f={{ call.function.name }}>{% for k, v in "
    "call.function.arguments.items() %}\n<p={{ k }}>{{ v }}</p>{% endfor %}\n</f>{% endfor %}",
    "in a fence": "{% for call in m.tool_calls %}```tool_call\n{{ call.function.name }}\n"
    "{{ call.function.arguments | tojson }}\n```\n{% endfor %}",
    "counted": "CALLS {{ m.tool_calls | length }}:{% for call in m.tool_calls %}\n#{{ loop.index }} "
    "{{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}\nEND",
    "tags with types": '{% for call in m.tool_calls %}<call name="{{ call.function.name }}">{% for k, v in '
    "call.function.arguments.items() %}<arg name=\"{{ k }}\" type=\"{{ 'string' if v is string else 'json' }}\">"
    "{{ v if v is string else v | tojson }}</arg>{% endfor %}</call>{% endfor %}",
    "the name as a key": '<|tools|>[{% for call in m.tool_calls %}{"{{ call.function.name }}": '
    "{{ call.function.arguments | tojson }}}{{ ', ' if not loop.last }}{% endfor %}]<|/tools|>",
    "an attribute of JSON": "{% for call in m.tool_calls %}<call fn='{{ call.function.name }}' "
    "args='{{ call.function.arguments | tojson }}'/>{% endfor %}",
    "an object with an id": '{% for call in m.tool_calls %}<use>{"type": "function", "id": "{{ call.id }}", '
    '"function": {"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}}</use>'
    "{% endfor %}",
    "nothing but an object": '{% for call in m.tool_calls %}{"name": "{{ call.function.name }}", "arguments": '
    "{{ call.function.arguments | tojson }}}\n{% endfor %}",
    "collected": "{% set ids = [] %}{% for call in m.tool_calls %}{% set _ = ids.append(call.id) %}<|call|>"
    "functions.{{ call.function.name }}:{{ ids | length }}<|args|>{{ call.function.arguments | tojson }}<|end|>"
    "{% endfor %}",
}


RESULTS = {
    "turns of their own": "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}@CALLS{% else %}{{ m.content }}"
    "{% endif %}<|over|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "in a user's turn": "{% for m in messages %}{% if m.role == 'tool' %}<|user|><result>{{ m.content }}</result>"
    "{% else %}<|{{ m.role }}|>{% if m.tool_calls %}@CALLS{% else %}{{ m.content }}{% endif %}{% endif %}<|over|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "in the assistant's turn": "{% for m in messages %}{% if m.role == 'tool' %}<obs>{{ m.content }}</obs>"
    "{% elif m.role == 'assistant' %}<s>A:{% if m.tool_calls %}@CALLS{% else %}{{ m.content }}{% endif %}"
    "{% else %}</s>{{ m.role | upper }}:{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<s>A:{% endif %}",
}
"""Where they stand."""


def made(form, results):
    return ChatTemplate(RESULTS[results].replace("@CALLS", form))


@pytest.mark.parametrize("results", RESULTS)
@pytest.mark.parametrize("form", OTHER_FORMS)
def test_the_form_of_other_templates_is_read_off_too(form, results):
    template = made(OTHER_FORMS[form], results)
    speech = speech_of(template)
    assert speech.calls.name in ("template", "pythonic")
    assert speech.note == ""
    for calls in CALLS.values():
        tail, text = answer(template, speech, calls)

        assert read(speech.parser(tail, TOOLS), taken_by(speech, tail, text), 3) == calls, text


UNREADABLE = {
    "attributes, unescaped": '{% for call in m.tool_calls %}<invoke tool="{{ call.function.name }}"{% for k, v in '
    'call.function.arguments.items() %} {{ k }}="{{ v if v is string else v | tojson }}"{% endfor %}/>{% endfor %}',
    "lines, unescaped": "{% for call in m.tool_calls %}<|call|>{{ call.function.name }}\n{% for k, v in "
    "call.function.arguments.items() %}{{ k }}: {{ v if v is string else v | tojson }}\n{% endfor %}<|endcall|>"
    "{% endfor %}",
    "an element an argument": "{% for call in m.tool_calls %}<{{ call.function.name }}>{% for k, v in "
    "call.function.arguments.items() %}<{{ k }}>{{ v if v is string else v | tojson }}</{{ k }}>{% endfor %}"
    "</{{ call.function.name }}>{% endfor %}",
    "the arguments first": '{% for call in m.tool_calls %}<fn>{"parameters": {{ call.function.arguments | tojson }}, '
    '"function": "{{ call.function.name }}"}</fn>{% endfor %}',
    "JSON in JSON": '{% for call in m.tool_calls %}<call>{"name": "{{ call.function.name }}", "arguments": '
    "{{ call.function.arguments | tojson | tojson }}}</call>{% endfor %}",
}


@pytest.mark.parametrize("results", RESULTS)
@pytest.mark.parametrize("form", UNREADABLE)
def test_a_form_that_cannot_be_read_back_gives_way_to_the_generic_one_and_it_is_said(form, results):
    speech = speech_of(made(UNREADABLE[form], results))

    assert speech.calls.name == "generic"
    assert "general form" in speech.note


def test_a_template_that_writes_no_calls_needs_no_word_about_them():
    assert speech_of(ChatTemplate("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}")).note == ""


def test_only_tools_of_the_request_and_valid_arguments_come_through_a_dialects_grammar(shared_data):
    city = {"enum": ["Bonn", "Trier"], "description": "Where."}
    parameters = {**PARAMETERS, "properties": {"city": city, "days": described({"type": "integer"})}}
    tools = [Tool(name="get_weather", description="Tells it.", parameters=parameters)]
    for name, _, speech in templates(shared_data):
        dialect = speech.calls
        if dialect.name != "template":
            continue
        chat = ChatInput(messages=(USER,), tools=tuple(tools))
        choice = ToolChoice(mode="required", parallel=False)
        shape = to_shape(GenerateRequest(id=1, input=chat, tool_choice=choice), speech, {})
        state = LLMatcher(VOCABULARY, to_grammar(shape, None, {}), log_level=0)
        text = b""
        while not state.is_stopped() and len(text) < 600:
            mask = state.compute_bitmask()
            if state.is_accepting():
                break
            allowed = [byte for byte in (*b'"}]>x0<', *range(256)) if mask[byte // 8] >> (byte % 8) & 1]
            state.consume_token(allowed[0])
            text += bytes(allowed[:1])

        ((called, arguments),) = read(dialect.parser("", tools), text.decode(), 10_000)
        assert called == "get_weather", name
        assert arguments["city"] in city["enum"], (name, arguments)


def test_a_template_nobody_has_seen_falls_back_or_is_read_off():
    unknown = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
        "{% for call in m.tool_calls or [] %}@@call {{ call.function.name }} with "
        "{{ call.function.arguments | tojson }} done@@{% endfor %}{% endfor %}"
    )
    read_off, generic = speech_of(ChatTemplate(unknown)).calls, speech_of(ChatTemplate("{{ messages }}")).calls

    assert (read_off.form.head, read_off.form.mid, read_off.form.tail) == ("@@call ", " with ", " done@@")
    assert generic.name == "generic"


def test_a_form_that_a_template_tells_its_model_is_used_also_for_the_history(shared_data):
    """Granite 3's template shows the tools, and says how they are called, but writes no calls."""
    speech, template = next(
        (speech, template) for name, template, speech in templates(shared_data) if "granite-3.3" in name
    )
    call = ToolCall(id="1", name="get_time", arguments='{"city": "Köln"}')
    result = Message(role="tool", content=(ToolResultPart(tool_call_id="1", content=(TextPart("R"),)),))
    asked = ChatInput(messages=(USER, Message(role="assistant", tool_calls=(call,)), result), tools=tuple(TOOLS))
    rewritten = speech.rewrite(asked)
    text = template.render(rewritten.messages, rewritten.tools)
    written = '<|tool_call|>[{"name": "get_time", "arguments": {"city": "Köln"}}]'

    assert speech.calls.name == "described"
    assert f"assistant<|end_of_role|>{written}<|end_of_text|>" in text
    assert '"name": "get_weather"' in text
    assert taken_by(speech, "", written) == written
    assert read(speech.parser("", TOOLS), written, 3) == [("get_time", {"city": "Köln"})]


def test_a_model_that_has_the_markers_of_pythonic_calls_writes_them_whatever_its_template_says():
    speech = find_speech(ChatTemplate("{{ messages }}"), OURS, ("<|tool_call_start|>", "<|tool_call_end|>"))

    assert speech.calls.name == "pythonic"


def test_without_calls_or_thoughts_everything_is_the_answer():
    assert isinstance(speech_of(ChatTemplate("{{ messages }}")).parser("", ()), PlainText)
