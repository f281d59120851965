"""What is sent to `/v1/tokenize` and `/v1/detokenize` and sent back, by the field names of vLLM and of llama-server,
and what `/v1/chat/completions/input_tokens` answers, as OpenAI's `/v1/responses/input_tokens` does. `chat.wire` has the
rules."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from ..chat.wire import CustomTool, FunctionTool
from ..messages import ChatMessage


class TokenizeRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/tokenize`: one of `prompt`, `content` and `messages`."""

    model: str
    prompt: str | None = None
    """A text, as vLLM takes it: read as `/v1/completions` would read it."""
    content: str | None = None
    """A text, as llama-server takes it: nothing is put in front of it unless `add_special_tokens` asks."""
    messages: list[ChatMessage] | None = None
    """A conversation: its prompt is meant, as `/v1/chat/completions` would read it."""
    tools: list[FunctionTool | CustomTool] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    add_special_tokens: bool | None = None
    add_special: bool | None = None
    """llama-server's name for it."""
    parse_special: bool | None = None
    """Whether control tokens are recognised in a text; true where it is left out."""
    return_token_strs: bool | None = None
    with_pieces: bool | None = None
    """llama-server's: `tokens` is a list of objects, each with the text of its token."""
    keep_alive: int | float | str | None = None


class DetokenizeRequest(Struct, frozen=True, kw_only=True):
    """`POST /v1/detokenize`."""

    model: str
    tokens: list[int]
    keep_alive: int | float | str | None = None


class Piece(Struct, frozen=True, kw_only=True):
    id: int
    piece: str | list[int]
    """Its text; its bytes where they are not whole characters."""


class Tokens(Struct, frozen=True, kw_only=True):
    """What `/v1/tokenize` answers."""

    count: int
    max_model_len: int
    """The context that the model is open with; 0 where there is no bound."""
    tokens: list[int | Piece]
    token_strs: list[str] | UnsetType = UNSET
    """Where `return_token_strs` asks: each token's text, or `bytes:\\x..` where that is not whole characters."""


class Text(Struct, frozen=True, kw_only=True):
    """What `/v1/detokenize` answers: the text, by both names."""

    prompt: str
    content: str


class InputTokens(Struct, frozen=True, kw_only=True):
    """OpenAI's `TokenCountsResource`."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int
