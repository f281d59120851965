"""What an engine does not have is refused by the name OpenAI gives the field."""

import pytest

from aiadmin_core.refuse import unsupported
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.constraint import Choice, JsonObject, JsonSchema, LarkGrammar, Regex
from aiadmin_core.specs.content import AudioPart, ImagePart, Message, TextPart, Tool, ToolResultPart
from aiadmin_core.specs.request import (
    Adapter,
    ChatInput,
    EmbedRequest,
    GenerateRequest,
    ScoreRequest,
    TextInput,
    TokensInput,
    ToolChoice,
)
from aiadmin_core.specs.sampling import SamplingParams

LEAST = Capabilities()
MOST = Capabilities(
    inputs=frozenset({"chat", "text", "tokens"}),
    modalities=frozenset({"text", "image", "audio"}),
    sampling=frozenset(SamplingParams.__struct_fields__),
    constraints=frozenset({"json_object", "json_schema", "regex", "choice", "lark"}),
    max_choices=8,
    max_logprobs=20,
    tools=True,
    reasoning=True,
    suffix=True,
    protocols=frozenset({"tokenize", "embed", "score", "adapters"}),
    forwards_unknown=True,
)


def chat(*parts, **fields):
    messages = (
        Message(role="system", content=(TextPart("s"),)),
        Message(role="user", content=(TextPart("a"), *parts)),
    )
    return ChatInput(messages=messages, **fields)


def ask(input=None, sampling=None, **fields):
    return GenerateRequest(id=1, input=input or chat(), sampling=sampling or SamplingParams(), **fields)


REFUSED = [
    (ask(chat(ImagePart(data=b"x"))), "messages[1].content[1]"),
    (ask(chat(AudioPart(data=b"x", format="wav"))), "messages[1].content[1]"),
    (ask(chat(ToolResultPart(tool_call_id="1", content=(ImagePart(),)))), "messages[1].content[1]"),
    (ask(chat(tools=(Tool(name="f"),))), "tools"),
    (ask(tool_choice=ToolChoice(mode="required")), "tool_choice"),
    (ask(TextInput(text="x")), "prompt"),
    (ask(TokensInput(tokens=(1,))), "prompt"),
    (ask(n=2), "n"),
    (ask(constraint=JsonObject()), "constraint"),
    (ask(constraint=JsonSchema(schema={})), "constraint"),
    (ask(constraint=Regex("a")), "constraint"),
    (ask(constraint=Choice(("a",))), "constraint"),
    (ask(constraint=LarkGrammar("start: 1")), "constraint"),
    (ask(reasoning_effort="high"), "reasoning_effort"),
    (ask(adapters=(Adapter(digest="sha256:0"),)), "adapters"),
    (ask(extra={"frobnicate": 1}), "frobnicate"),
    (ask(sampling=SamplingParams(logprobs=0)), "logprobs"),
    (ask(sampling=SamplingParams(temperature=0)), "temperature"),
    (ask(sampling=SamplingParams(top_p=0.5)), "top_p"),
    (ask(sampling=SamplingParams(top_k=5)), "top_k"),
    (ask(sampling=SamplingParams(min_p=0.1)), "min_p"),
    (ask(sampling=SamplingParams(seed=0)), "seed"),
    (ask(sampling=SamplingParams(logit_bias={1: 2})), "logit_bias"),
    (ask(sampling=SamplingParams(frequency_penalty=1)), "frequency_penalty"),
    (ask(sampling=SamplingParams(presence_penalty=1)), "presence_penalty"),
    (ask(sampling=SamplingParams(repeat_penalty=1.1)), "repeat_penalty"),
    (ask(sampling=SamplingParams(ignore_eos=True)), "ignore_eos"),
]


@pytest.mark.parametrize(("request_", "name"), REFUSED, ids=[f"{name}-{i}" for i, (_, name) in enumerate(REFUSED)])
def test_what_the_table_lacks_is_refused_by_name(request_, name):
    refusal = unsupported(request_, LEAST)

    assert refusal is not None
    assert refusal.param == name
    assert f"'{name}'" in refusal.message
    assert (refusal.status, refusal.code) == (400, "unsupported_parameter")


@pytest.mark.parametrize("request_", [request for request, _ in REFUSED])
def test_what_the_table_names_is_not_refused(request_):
    assert unsupported(request_, MOST) is None


def test_defaults_ask_for_nothing():
    every = {field: getattr(SamplingParams(), field) for field in SamplingParams.__struct_fields__}

    assert unsupported(ask(sampling=SamplingParams(**every), n=1, tool_choice=ToolChoice(mode="none")), LEAST) is None


def test_max_tokens_and_stop_are_everybodys():
    assert unsupported(ask(sampling=SamplingParams(max_tokens=1, stop=("a",))), LEAST) is None


def test_text_completions_may_be_all_a_model_has():
    refusal = unsupported(ask(), Capabilities(inputs=frozenset({"text"})))

    assert refusal is not None
    assert refusal.param == "messages"


def test_a_suffix_needs_a_model_that_fills_gaps():
    refusal = unsupported(ask(TextInput(text="a", suffix="b")), Capabilities(inputs=frozenset({"text"})))

    assert refusal is not None
    assert refusal.param == "suffix"


@pytest.mark.parametrize(
    ("request_", "named"),
    [(ask(n=9), "at most 8"), (ask(sampling=SamplingParams(logprobs=21)), "at most 20")],
)
def test_too_much_is_refused_with_the_limit(request_, named):
    refusal = unsupported(request_, MOST)

    assert refusal is not None
    assert named in refusal.message


@pytest.mark.parametrize(
    ("request_", "protocol", "what"),
    [
        (EmbedRequest(id=1, inputs=("a",)), "embed", "makes no embeddings."),
        (ScoreRequest(id=1, query="a", documents=("b",)), "score", "ranks no documents."),
    ],
)
def test_vectors_and_scores_need_their_protocol_and_nothing_else(request_, protocol, what):
    assert unsupported(request_, Capabilities(generates=False, protocols=frozenset({protocol}))) is None
    refused = unsupported(request_, Capabilities())
    assert refused.param == "model"
    assert refused.message.endswith(what)


@pytest.mark.parametrize(
    ("mode", "protocols", "refused"),
    [
        ("ranking", {"score"}, None),
        ("ranking", {"embed"}, "send 'mode'"),
        ("ranking", set(), "ranks no documents."),
        ("similarity", {"embed"}, None),
        ("similarity", {"score"}, "makes no embeddings."),
        ("any", {"embed"}, None),
        ("any", {"score"}, None),
        ("any", {"embed", "score"}, None),
        ("any", set(), "ranks no documents."),
    ],
)
def test_documents_are_compared_by_what_the_model_can(mode, protocols, refused):
    asked = ScoreRequest(id=1, query="a", documents=("b",), mode=mode)
    refusal = unsupported(asked, Capabilities(generates=False, protocols=frozenset(protocols)))
    assert (refusal is None) == (refused is None)
    assert refusal is None or refused in str(refusal)


@pytest.mark.parametrize(
    ("protocols", "what"),
    [
        ({"embed"}, "it makes embeddings of it."),
        ({"embed", "score"}, "it makes embeddings of it and ranks documents."),
        (set(), "it only reads it."),
    ],
)
def test_a_model_that_only_reads_refuses_to_generate_and_says_what_it_does(protocols, what):
    reader = Capabilities(generates=False, protocols=frozenset(protocols))

    refused = unsupported(ask(), reader)

    assert refused.param == "model"
    assert refused.message.endswith(f"this model generates no text, {what}")


@pytest.mark.parametrize(
    ("request_", "able", "says"),
    [
        (ask(chat(ImagePart(data=b"x"))), LEAST, "this model takes text, and this is image input."),
        (
            ask(chat(AudioPart(data=b"x", format="wav"))),
            Capabilities(modalities=frozenset({"text", "image"})),
            "this model takes text and images, and this is audio input.",
        ),
        (ask(constraint=Regex("a")), LEAST, "this model cannot keep to a regex format."),
        (
            ask(constraint=Regex("a")),
            Capabilities(constraints=frozenset({"json_schema", "json_object"})),
            "cannot keep to a regex format, only to json_object, json_schema.",
        ),
        (ask(sampling=SamplingParams(top_p=0.5)), LEAST, "Leave it out, or send 1.0, which asks for nothing."),
        (ask(sampling=SamplingParams(seed=5)), LEAST, "Leave it out."),
    ],
)
def test_a_refusal_says_what_there_is_instead(request_, able, says):
    assert says in str(unsupported(request_, able))
