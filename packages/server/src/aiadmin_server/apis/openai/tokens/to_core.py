"""Requests for tokens to core's: pure, and called once a request by `route`."""

from msgspec.structs import replace

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.request import GenerateRequest, TokenizeRequest
from aiadmin_core.specs.sampling import MAX_INT

from ....http.reading import Decoded
from ....serving.call import Call
from ....serving.sampling import keep_alive_s
from ..chat.to_core import chat_call
from ..chat.wire import ChatCompletionRequest
from . import wire

SOURCES = ("prompt", "content", "messages")


def tokenize_call(decoded: Decoded[wire.TokenizeRequest]) -> Call:
    """As `chat_call`. Raises `BadRequest` where there is not one thing to be tokenised."""
    data = decoded.data
    given = [name for name in SOURCES if getattr(data, name) is not None]
    if len(given) != 1:
        what = "one of 'prompt', 'content' and 'messages'"
        found = f"not {' and '.join(map(repr, given))}" if given else "and there is none"
        raise BadRequest(f"The request needs {what}, {found}.", param=given[1] if given else "prompt")
    adds = data.add_special if data.add_special_tokens is None else data.add_special_tokens
    wants_pieces = bool(data.return_token_strs or data.with_pieces)
    if data.messages is not None:
        if adds:
            name = "add_special" if data.add_special_tokens is None else "add_special_tokens"
            raise UnsupportedParameter(name, why="a conversation's template decides about them.", hint="Leave it out.")
        return _of_prompts(chat_call(Decoded(_as_chat(data), decoded.unknown)), pieces=wants_pieces)
    for name in ("tools", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"):
        if getattr(data, name) is not None:
            raise BadRequest(f"'{name}' needs 'messages'.", param=name)
    text = data.prompt if data.content is None else data.content
    assert text is not None, "one of them is given"
    return _call(
        decoded,
        TokenizeRequest(
            id=0,
            input=text,
            special=data.parse_special is not False,
            around=data.content is None if adds is None else adds,
            pieces=wants_pieces,
        ),
    )


def detokenize_call(decoded: Decoded[wire.DetokenizeRequest]) -> Call:
    """As `chat_call`. Raises `BadRequest` for what is no token id."""
    wrong = next((token for token in decoded.data.tokens if not 0 <= token <= MAX_INT), None)
    if wrong is not None:
        raise BadRequest(f"'tokens' holds {wrong}, which is no token id.", param="tokens")
    return _call(decoded, TokenizeRequest(id=0, input=tuple(decoded.data.tokens), pieces=True))


def input_tokens_call(decoded: Decoded[ChatCompletionRequest]) -> Call:
    """What `chat_call` would ask, its prompt counted instead of answered."""
    return _of_prompts(chat_call(decoded))


def _of_prompts(call: Call, *, pieces: bool = False) -> Call:
    requests = (request for request in call.requests if isinstance(request, GenerateRequest))
    asked = tuple(TokenizeRequest(id=0, input=request, pieces=pieces) for request in requests)
    return replace(call, requests=asked)


def _as_chat(data: wire.TokenizeRequest) -> ChatCompletionRequest:
    return ChatCompletionRequest(
        model=data.model,
        messages=data.messages or [],
        tools=data.tools,
        chat_template_kwargs=data.chat_template_kwargs,
        add_generation_prompt=data.add_generation_prompt,
        continue_final_message=data.continue_final_message,
        keep_alive=data.keep_alive,
    )


def _call(decoded: Decoded[wire.TokenizeRequest] | Decoded[wire.DetokenizeRequest], request: TokenizeRequest) -> Call:
    data = decoded.data
    return Call(
        model=data.model,
        requests=(request,),
        keep_alive_s=keep_alive_s(data.keep_alive),
        unknown=decoded.unknown,
    )
