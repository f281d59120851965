"""From a chat template to the form of its tool calls: what the template writes for an assistant's calls is what the
model was trained to write. Found by rendering small conversations and looking where names and arguments stand.

A form is kept only where it reads back what the template writes, also of texts that are hard to tell from it.

Used once a model, by `find`.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile
from typing import Any

from ...errors import BadRequest
from ...specs.content import Message, TextPart, Tool, ToolCall, ToolResultPart
from ...text.template import Template
from ..dialect import CallPiece
from .form import ID, KEY, NUMBER, CallForm, Tags
from .pythonic import Pythonic, read_calls
from .reading import FormParser

_NAMES = ("needle_one", "needle_two")
_IDS = ("needleidA", "needleidB")
_CONTENT = "N33dle"
_VALUES: dict[str, Any] = {
    "string": "söme text",
    "boolean": True,
    "number": 73,
    "array": ["xyz"],
    "object": {"inner": 5},
}
"""By type; each stands in the argument `key_<type>`."""
_ARGUMENTS = {f"key_{kind}": value for kind, value in _VALUES.items()}
_SECOND = {"key_string": "other words", "key_number": 91}
_HARD = {"key_string": "a \"b\" { <c>\nd: 'e' \\ ü, f=1", "key_number": -4}
"""What a form must be able to say: people's files and messages are full of it."""
_TOOLS = [
    Tool(
        name=name,
        description="d",
        parameters={"type": "object", "properties": {"key_string": {"type": "string", "description": "d"}}},
    )
    for name in _NAMES
]
_USER = Message(role="user", content=(TextPart("?"),))
_SAID = Message(role="assistant", content=(TextPart(_CONTENT),))


def derive(template: Template) -> CallForm | None:
    """The form of the calls that `template` writes; None where it writes none, or none that can be read."""
    first = ToolCall(id=_IDS[0], name=_NAMES[0], arguments=json.dumps(_ARGUMENTS))
    second = ToolCall(id=_IDS[1], name=_NAMES[1], arguments=json.dumps(_SECOND))
    results = [
        Message(role="tool", content=(ToolResultPart(tool_call_id=one, content=(TextPart("done"),)),)) for one in _IDS
    ]
    # Some templates leave out an assistant's message that is the last one.
    found_forms: list[CallForm] = []
    for after_text, n_results in (((), 0), ((_USER,), 2)):
        before_said, found, after_said = (_rendered(template, _SAID, *after_text) or "").rpartition(_CONTENT)
        if not found:
            before_said, after_said = _prompt(template), ""
        for calls in ((first, second), (first,)):
            message = Message(role="assistant", tool_calls=calls)
            rendered = _rendered(template, message, *results[: min(n_results, len(calls))])
            known = [(_NAMES[0], _ARGUMENTS), (_NAMES[1], _SECOND)][: len(calls)]
            form = _form(rendered, before_said, after_said, known) if rendered else None
            if form is not None:
                found_forms.append(form)
                break
    found_form = min(found_forms, key=lambda form: (len(form.begin + form.end), -len(form.texts)), default=None)
    form = found_form and _with_lone_call(found_form, template, results[:1])
    return form if form is not None and _reads_back(form, template, results[:1]) else None


def writes_calls(template: Template) -> bool:
    """Whether an assistant's calls in the history come into the prompt at all."""
    call = ToolCall(id=_IDS[0], name="needle_three", arguments="{}")  # no tool that the template could list
    message = Message(role="assistant", tool_calls=(call,))
    result = Message(role="tool", content=(ToolResultPart(tool_call_id=_IDS[0], content=(TextPart("done"),)),))
    return any(call.name in (_rendered(template, message, *behind) or "") for behind in ((), (result,)))


def _reads_back(form: CallForm, template: Template, results: Sequence[Message]) -> bool:
    """Whether a call with texts that look like `form` is read back from what `template` writes of it."""
    call = ToolCall(id=_IDS[0], name=_NAMES[0], arguments=json.dumps(_HARD))
    message = Message(role="assistant", tool_calls=(call,))
    rendered = [_rendered(template, message, *behind) for behind in ((), results)]
    return any(_HARD in (arguments for _, arguments in _read(form, text)) for text in rendered if text)


def _read(form: CallForm, text: str) -> list[tuple[str, Any]]:
    """Names and arguments of the calls in `text`, the whole conversation; its end, where an answer must begin so."""
    if not form.opening:
        text = text[max(0, text.rfind((form.begin + form.head).strip())) :]
    parser = FormParser(form, _TOOLS)
    calls: list[list[str]] = []
    for piece in (*parser.feed(text), *parser.end("")):
        if isinstance(piece, CallPiece):
            if piece.name is not None:
                calls.append([piece.name, ""])
            calls[-1][1] += piece.arguments
    read: list[tuple[str, Any]] = []
    for name, arguments in calls:
        with suppress(ValueError):
            read.append((name, json.loads(arguments)))
    return read


def _with_lone_call(form: CallForm, template: Template, results: Sequence[Message]) -> CallForm:
    """`form` with what is different where there is one call only, and without arguments."""
    if not form.tail:
        return form
    form = replace(form, cdata=form.tags is not None and "<![CDATA[" in template.source)
    call = Message(role="assistant", tool_calls=(ToolCall(id=_IDS[0], name=_NAMES[0], arguments="{}"),))
    rendered = _rendered(template, call, *results) or ""
    _, _, behind = rendered[rendered.rfind(_NAMES[0], 0, rendered.rfind(form.tail.strip())) :].partition(_NAMES[0])
    between, found, rest = behind.removeprefix(form.mid).partition(form.tail)
    empty = form.tags and found and behind.startswith(form.mid) and not between.strip()
    return replace(
        form, empty=between if empty else "", open_end=bool(form.end.strip() and found and form.end not in rest)
    )


def takes_system(template: Template) -> bool:
    """Whether the template writes a system message: some refuse one, some leave it out."""
    system = Message(role="system", content=(TextPart(_CONTENT),))
    try:
        return _CONTENT in template.render([system, _USER])
    except BadRequest:
        return False


def _prompt(template: Template) -> str:
    try:
        return template.render([_USER], _TOOLS)
    except BadRequest:
        return ""


def _rendered(template: Template, *messages: Message) -> str | None:
    try:
        return template.render([_USER, *messages], _TOOLS)
    except BadRequest:
        return None


def derive_pythonic(template: Template) -> Pythonic | None:
    """The same of calls as Python writes them."""
    arguments = {key: value for key, value in _ARGUMENTS.items() if key != "key_object"}
    calls = [(_NAMES[0], arguments), (_NAMES[1], _SECOND)]
    for n in (2, 1):
        asked = tuple(
            ToolCall(id=one, name=name, arguments=json.dumps(given))
            for one, (name, given) in zip(_IDS, calls[:n], strict=False)
        )
        rendered = _rendered(template, Message(role="assistant", tool_calls=asked), _USER) or ""
        before, after = (_rendered(template, _SAID, _USER) or "").split(_CONTENT)[-2:] if rendered else ("", "")
        text = _calls_in(rendered, before, after) if rendered else ""
        found = re.search(r"(\S*?)(\[?)(needle_one\([\s\S]*\))(\]?)\s*(\S*)", text)
        if found is None:
            continue
        read = [(piece.name, json.loads(piece.arguments)) for piece in read_calls(found[3])]
        read = read or [(piece.name, json.loads(piece.arguments)) for piece in read_calls(f"[{found[3]}]")]
        if read != calls[:n] or not (found[1] or found[2]):
            continue
        between = re.search(r"\)([^()]*)needle_two\(", found[3])
        separator = between[1] if between else ", "
        return Pythonic(found[1], found[2], separator, found[4], found[5], raw=_writes_raw(template))
    return None


def _writes_raw(template: Template) -> bool:
    """Whether texts in calls stand as they are, nothing in them escaped."""
    arguments = json.dumps({"key_string": _UNESCAPED})
    call = ToolCall(id=_IDS[0], name=_NAMES[0], arguments=arguments)
    return _UNESCAPED in (_rendered(template, Message(role="assistant", tool_calls=(call,)), _USER) or "")


_UNESCAPED = "one\\two\nthree"


def _calls_in(rendered: str, before_said: str, after_said: str) -> str:
    """The part of `rendered` with the calls, cut where it differs from what is said in their place."""
    start = _n_common(rendered, before_said)
    closes_text = rendered[start : start + _n_common(rendered[start:], after_said)]
    if closes_text not in before_said:  # what is said has an end of its own, which is not that of a turn
        start, after_said = start + len(closes_text), after_said[len(closes_text) :]
    end = len(rendered) - _n_common_at_end(rendered[start:], after_said)
    return _EMPTY_THOUGHT.sub("", _before_turn_end(rendered[start:end], after_said))


def _form(
    rendered: str, before_said: str, after_said: str, calls: Sequence[tuple[str, dict[str, Any]]]
) -> CallForm | None:
    """Cut `rendered` at what is known: what stands between is the form."""
    text = _calls_in(rendered, before_said, after_said)
    texts: list[str] = []  # around names and arguments: before the first name, after it, after the arguments, ...
    tags: Tags | None = None
    indented = escaped = python = False
    position = 0
    for name, arguments in calls:
        at = text.find(name, position)
        if at < 0:
            return None
        texts.append(text[position:at])
        inside = at + len(name)
        span = _json_span(text, inside, arguments)
        if span is None:
            tagged = _tagged_span(text, inside, arguments)
            if tagged is None:
                return None
            span, found = tagged
            tags = tags or found
            python = python or str(arguments.get("key_array")) in text[span[0] : span[1]]
        else:
            written = text[span[0] : span[1]]
            escaped = escaped or written.isascii()
            indented = indented or written not in (json.dumps(arguments), json.dumps(arguments, ensure_ascii=False))
        texts.append(text[inside : span[0]])
        position = span[1]
    texts.append(text[position:])
    form = _assembled([_slotted(one) for one in texts], tags)
    return replace(form, indented=indented, ascii=escaped, python=python) if form is not None else None


def _assembled(texts: list[str], tags: Tags | None) -> CallForm | None:
    begin_head, mid, rest = texts[0], texts[1], texts[-1]
    between = texts[2] if len(texts) == 5 else None
    if not begin_head.strip():
        return None  # nothing tells a call from an answer
    if between is None:
        return CallForm(begin="", head=begin_head.lstrip(), mid=mid, tail=rest.rstrip(), tags=tags)
    n_head = _n_common_at_end(begin_head, between)
    n_tail = _n_common(between, rest)
    if (both := n_head + n_tail - len(between)) > 0:
        if between[n_tail - both : n_tail].strip():  # a marker, with which calls and sections may end
            n_head -= both
        else:
            n_tail -= both
    if not n_head:
        return None
    head, tail = between[len(between) - n_head :], between[:n_tail]
    return CallForm(
        begin=begin_head[: len(begin_head) - n_head].lstrip(),
        head=head if begin_head[: len(begin_head) - n_head].strip() else head.lstrip(),
        mid=mid,
        tail=tail,
        separator=between[n_tail : len(between) - n_head] + _leading_space(head, begin_head, n_head),
        end=rest[n_tail:].rstrip(),
        tags=tags,
    )


def _leading_space(head: str, begin_head: str, n_head: int) -> str:
    """White space that begins `head` where it was taken off."""
    if begin_head[: len(begin_head) - n_head].strip():
        return ""
    return head[: len(head) - len(head.lstrip())]


def _json_span(text: str, start: int, arguments: dict[str, Any]) -> tuple[int, int] | None:
    """Where the arguments stand as JSON behind `start`."""
    for match in re.finditer(r"\{", text[start:]):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start + match.start())
        except ValueError:
            continue
        if value == arguments:
            return start + match.start(), end
    return None


def _tagged_span(text: str, start: int, arguments: dict[str, Any]) -> tuple[tuple[int, int], Tags] | None:
    """Where the arguments stand one by one behind `start`, and what stands around them."""
    gaps: list[str] = []
    mids: dict[str, str] = {}
    position = start
    for key, value in arguments.items():
        at = text.find(key, position)
        if at < 0:
            return None
        gaps.append(text[position:at].replace((gaps and list(arguments)[len(gaps) - 1]) or KEY, KEY))
        position = at + len(key)
        places = [(text.find(one, position), one) for one in _spellings(value)]
        places = [place for place in places if place[0] >= 0]
        if not places:
            return None
        found, written = min(places)
        mids[key.removeprefix("key_")] = text[position:found]
        position = found + len(written)
    if len(gaps) < 2:
        return None
    last = text[position:].replace(list(arguments)[-1], KEY)
    n_before = _n_common_at_end(gaps[0], gaps[1])
    before = gaps[1][len(gaps[1]) - n_before :]
    after = gaps[1][: len(gaps[1]) - n_before]
    if not before.strip() or not last.startswith(after.rstrip()):
        n_after = _n_common(gaps[1], last)
        after, before = gaps[1][:n_after], gaps[1][n_after:]
    if not after.strip() or not gaps[0].endswith(before):
        return None
    if any(gap != after + before for gap in gaps[1:]):
        return None
    mids.setdefault("number", mids["string"])
    others = {kind: mids.get(kind, mids["number"]) for kind in _VALUES}
    end = position + len(after.replace(KEY, list(arguments)[-1]))
    return (start + len(gaps[0]) - len(before), end), Tags(before=before, mids=others, after=after)


def _spellings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [json.dumps(value), json.dumps(value, separators=(",", ":")), str(value)]


def _slotted(text: str) -> str:
    """`text` with what differs from call to call left open."""
    for one in _IDS:
        text = text.replace(one, ID)
    return re.sub(r"(?<![A-Za-z_0-9.])[0-9]+(?![A-Za-z_0-9])", NUMBER, text)


def _before_turn_end(text: str, after_said: str) -> str:
    """`text` up to what ends a turn: a marker, with as much behind it as tells it from those inside calls."""
    inside = max(text.rfind(key) for key in _ARGUMENTS)
    end = ""
    for unit in _UNIT.findall(after_said.strip()):
        end += unit
        at = text.find(end, 1)  # calls may begin with what ends a turn: they are one of their own
        if not 0 < at <= inside:
            break
    over = text.find(end, 1) if len(end) > 1 else -1
    return (text[:over] if over > 0 else text).partition("<|eom_id|>")[0]


_EMPTY_THOUGHT = re.compile(r"^\s*<[^<>]*think[^<>]*>\s*(?:<[^<>]*think[^<>]*>\s*)?", re.IGNORECASE)
"""Reasoning that a template closes before the calls is no part of them."""


_UNIT = re.compile(r"<[^<>\s]+>|\[[A-Z_/]+\]|[\s\S]")
"""What is not cut: a marker, or else a character."""


def _n_common(first: str, second: str) -> int:
    """Length of the beginning that both share, in whole markers."""
    pairs = zip(_UNIT.findall(first), _UNIT.findall(second), strict=False)
    return sum(len(one) for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _n_common_at_end(first: str, second: str) -> int:
    """The same of the end."""
    pairs = zip(reversed(_UNIT.findall(first)), reversed(_UNIT.findall(second)), strict=False)
    return sum(len(one) for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
