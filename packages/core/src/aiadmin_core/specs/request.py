"""What an engine is asked to do, whichever endpoint or API it was asked through."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from .constraint import Constraint
from .content import Message, Tool
from .sampling import SamplingParams


class ChatInput(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="chat"):
    """A conversation, to be rendered with the model's chat template."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    template_options: dict[str, Any] = {}
    """Extra variables for the template (`enable_thinking`, ...)."""
    template: str | None = None
    """A chat template, in Go's language, instead of the model's own."""
    context: tuple[int, ...] = ()
    """Tokens of earlier turns, as `Finished.tokens` told them; what the conversation says stands behind them."""
    continues: bool = False
    """The last message is the assistant's and not over: the answer goes on where it ends."""


class TextInput(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="text"):
    """Text to continue as it is, without a template."""

    text: str
    """"" is the beginning of a new document."""
    suffix: str | None = None
    """Text that follows the gap to be filled, on models that can fill one."""


class TokensInput(Struct, frozen=True, kw_only=True, tag="tokens"):
    """Token ids of the model's own vocabulary, to continue as they are."""

    tokens: tuple[int, ...]


Input = ChatInput | TextInput | TokensInput


class ToolChoice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which tools the answer may, or must, call."""

    mode: Literal["auto", "none", "required"] = "auto"
    names: tuple[str, ...] = ()
    """The allowed tools; empty allows all. With "required" and one name, that tool is called."""
    parallel: bool = True


class Adapter(Struct, frozen=True, kw_only=True):
    """A LoRA adapter to apply, by the digest of its file."""

    digest: str
    scale: float = 1.0


class NamedAdapter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The same as people write it: the adapters of a model that was made with some."""

    name: Annotated[str, Meta(min_length=1)]
    scale: Annotated[float, Meta(ge=-100, le=100)] = 1.0
    """How much of what they add is added; 0 leaves the model as it is."""


class GenerateRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request for one or more answers to one input."""

    id: int
    """Unique among the requests an engine is working on; every event carries it."""
    input: Input
    sampling: SamplingParams = SamplingParams()
    n: Annotated[int, Meta(ge=1, le=128)] = 1
    """Answers (choices) to generate from one prefill of the prompt."""
    score_prompt: bool = False
    """Report the log-probabilities of the prompt's own tokens too, with `sampling.logprobs` alternatives."""
    reads_only: bool = False
    """No answer: the choices end once the prompt is read, whatever `sampling.max_tokens` says."""
    tells_tokens: bool = False
    """`Finished` tells the tokens of the prompt and the answer."""
    constraint: Constraint | None = None
    tool_choice: ToolChoice = ToolChoice()
    reasoning_effort: str | None = None
    adapters: tuple[Adapter, ...] = ()
    priority: int = 0
    """Higher is admitted first; equal priorities in the order they came."""
    cache_salt: str = ""
    """Only requests with the same salt share a cached prefix."""
    cache_key: str = ""
    """A hint: requests with the same key are likely to begin alike. It separates nothing, and may be ignored."""
    truncate: bool = False
    """Leave out the oldest turns of a conversation that is too long, instead of refusing it."""
    prediction: str = ""
    """What the answer is expected to be like: where it is, it comes faster, and it is no other for it."""
    speculation: bool = True
    """Whether tokens may be guessed, and several verified in a step, where the engine does that at all."""
    extra: dict[str, Any] = {}
    """Fields AiAdmin does not know, for engines whose capabilities say `forwards_unknown`."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation, or nothing where the input is text or tokens."""
        return self.input.messages if isinstance(self.input, ChatInput) else ()


class TokenizeRequest(Struct, frozen=True, kw_only=True):
    """Which tokens is something read as, and what do they stand for? Nothing is computed."""

    id: int
    input: str | tuple[int, ...] | GenerateRequest
    """A text; tokens as they are; or a request, whose prompt is meant, template, tools and all."""
    special: bool = True
    """Whether control tokens are recognised in a text."""
    around: bool = True
    """Whether a text gets what the vocabulary puts around one that stands for itself (BOS, [CLS], [SEP])."""
    pieces: bool = False
    """Whether the bytes of each token are wanted too."""


class EmbedRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A vector is wanted for each of some texts."""

    id: int
    inputs: tuple[str | tuple[int, ...], ...]
    """Texts, or token ids of the model's own vocabulary, which are read as they are."""
    dimensions: int | None = None
    """Give only so many numbers of each vector, scaled to length 1 again; None gives all."""
    truncate: bool = False
    """Read the beginning of an input that is too long, instead of refusing it."""


RankingMode = Literal["ranking", "similarity", "any"]
"""How documents are compared with a query: by a model made for it, which reads both together; by the cosine of their
embeddings; by either, whatever the model can."""


class ScoreRequest(Struct, frozen=True, kw_only=True):
    """How well does each of some documents answer a query?"""

    id: int
    query: str
    documents: tuple[str, ...]
    mode: RankingMode = "ranking"
    truncate: bool = False
    """Read the beginning of a document that is too long, instead of refusing it."""


Request = GenerateRequest | TokenizeRequest | EmbedRequest | ScoreRequest
