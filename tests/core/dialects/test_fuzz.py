"""Whatever a model writes, every dialect reads it: without an error, alike however it is cut, without losing text."""

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiadmin_core.dialects.dialect import CallPiece, Thought
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.dialects.harmony import Harmony
from aiadmin_core.dialects.kimi import Kimi
from aiadmin_core.dialects.muse import Muse
from aiadmin_core.dialects.tools.gemma import Gemma
from aiadmin_core.dialects.tools.generic import GenericDialect
from aiadmin_core.dialects.tools.nested import NestedTags
from aiadmin_core.dialects.tools.pythonic import Pythonic
from aiadmin_core.specs.content import Tool
from aiadmin_core.text.chat_template import ChatTemplate

pytestmark = pytest.mark.hypothesis  # `nox -s properties` draws many more
TEMPLATES = Path(__file__).parents[4] / "shared" / "data" / "chat_templates"
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}, "n": {"type": "integer"}}}
TOOLS = [Tool(name=name, parameters=PARAMETERS) for name in ("f", "get_b")]
COMMON = [
    "f",
    "get_b",
    "a",
    "n",
    "x",
    " ",
    "\n",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    ":",
    ",",
    "=",
    "(",
    ")",
    "<",
    ">",
    "é🙂",
]
COMMON += ['{"a": "x"}', '{"n": 3}', "{}", '"name": "f"', '"arguments": {"a": 1}', "\\", "</", "<|", "|>", "null", "3"]
MARKERS = ["<think>", "</think>", "functions.", "all", "user", "self", "assistant", " to=f"]


@cache
def dialects():
    """Those of calls, by name, each with the texts it looks for; the forms of the templates at hand among them."""
    ours = [
        GenericDialect(),
        Harmony(),
        Muse(),
        Kimi(),
        Gemma(),
        NestedTags(),
        Pythonic(),
        Pythonic("", "[", ", ", "]", ""),
    ]
    found = {f"{dialect.name}{n}": dialect for n, dialect in enumerate(ours)}
    for path in sorted(TEMPLATES.glob("*.jinja")):
        template = ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>")
        dialect = find_speech(template, OURS).calls
        if not any(
            repr(getattr(dialect, "form", dialect.name)) == repr(getattr(d, "form", d.name)) for d in found.values()
        ):
            found[path.stem] = dialect
    return found


def fragments(dialect):
    """What texts for it are put together from."""
    form = getattr(dialect, "form", None)
    texts = [*dialect.markers, *(getattr(dialect, name, "") for name in ("opening", "closing"))]
    if form is not None:
        texts += [form.begin, form.head, form.mid, form.tail, form.separator, form.end]
        texts += [form.head + "f" + form.mid + "{}" + form.tail, form.begin + form.head + "f" + form.mid]
        if form.tags:
            texts += [form.tags.before + "a", form.tags.mids["string"], form.tags.after]
    private = {chr(0xE000): "callabcd1", chr(0xE001): "1", chr(0xE002): "a"}
    texts = ["".join(private.get(c, c) for c in text) for text in texts if text]
    return st.lists(st.sampled_from([*texts, *texts, *COMMON, *MARKERS]), max_size=14).map("".join)


def read(parser, text, cuts):
    """Texts, thoughts and calls in the order they came, neighbours joined."""
    pieces = [
        piece
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)
        for piece in parser.feed(text[start:end])
    ]
    joined = []
    for piece in (*pieces, *parser.end("")):
        kind = "call" if isinstance(piece, CallPiece) else "thought" if isinstance(piece, Thought) else "text"
        content = piece.arguments if kind == "call" else piece.text if kind == "thought" else piece
        if kind == "call" and piece.name is not None:
            joined.append([f"call {piece.name}", content])
        elif kind == "call":
            assert joined[-1][0].startswith("call"), "arguments before a name, or behind a text"
            joined[-1][1] += content
        elif joined and joined[-1][0] == kind:
            joined[-1][1] += content
        else:
            joined.append([kind, content])
    assert parser.n_held == 0
    return joined


NAMES = sorted(dialects())


@pytest.mark.parametrize("name", NAMES)
def test_anything_is_read_alike_however_it_is_cut(name):
    dialect = dialects()[name]

    @settings(max_examples=settings().max_examples // 4)
    @given(st.data())
    def reads(data):
        text = data.draw(fragments(dialect))
        cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
        whole = read(dialect.parser("", TOOLS), text, [])

        assert read(dialect.parser("", TOOLS), text, list(range(len(text)))) == whole
        assert read(dialect.parser("", TOOLS), text, cuts) == whole
        if not dialect.reasoning and not any(kind.startswith("call") for kind, _ in whole):
            assert "".join(content for _, content in whole) == text

    reads()


def calls_of(dialect, arguments):
    """A call as the dialect's own form writes it, of `f`."""
    form = dialect.form
    given = json.dumps(arguments, ensure_ascii=False)
    if form.tags:
        given = "".join(
            form.tags.before + key + form.tags.mids["string"] + value + form.tags.after.replace("\ue002", key)
            for key, value in arguments.items()
        )
    text = form.begin + form.head + "f" + form.mid + given + form.tail + form.end
    return text.replace("\ue000", "callabcd1").replace("\ue001", "1")


@pytest.mark.parametrize("name", [name for name in NAMES if getattr(dialects()[name], "form", None) is not None])
def test_text_beside_calls_is_kept_and_arguments_are_what_was_written(name):
    dialect = dialects()[name]
    words = st.text(
        st.characters(codec="utf-8", exclude_characters="<[{]>|\ue000\ue001\ue002", exclude_categories=["Cs"])
    )

    @settings(max_examples=settings().max_examples // 4)
    @given(words.map(str.strip), words)
    @example("Let me see.", " x\n y ")
    def reads(said, value):
        before = said if dialect.form.opening else ""
        found = read(dialect.parser("", TOOLS), before + calls_of(dialect, {"a": value}), [])
        texts = "".join(content for kind, content in found if kind == "text")
        ((called, arguments),) = [(kind, content) for kind, content in found if kind != "text"]

        assert called == "call f"
        assert json.loads(arguments) == {"a": value}
        assert texts.strip() == before.strip()

    reads()
