"""Tokens as servers elsewhere tell them: what is asked where, and what the answers say. Pure; used by the engine.

AiAdmin (`/v1/tokenize`) and vLLM (`/tokenize`) take `prompt` or `messages`, and answer with the `tokens` and their
`count`. llama-server (`/tokenize`) takes `content`, knows no `count`, and writes a conversation's prompt at
`/apply-template`. Others have none of it.
"""

from collections.abc import Generator, Mapping
from typing import Any

from aiadmin_core.errors import UnsupportedParameter
from aiadmin_core.specs.request import GenerateRequest, TextInput, TokensInput

from .request import to_openai

Ask = tuple[str, dict[str, Any]]
"""URL and body of a request."""
Told = Mapping[str, Any] | None
"""What was answered; None where a server has no such path."""

_OF_A_PROMPT = ("model", "messages", "tools", "chat_template_kwargs", "add_generation_prompt", "continue_final_message")


def tokens_of_text(
    base_url: str, model: str, text: str, *, special: bool, around: bool
) -> Generator[Ask, Told, list[int]]:
    """Yields what to ask, is sent what was answered, and returns the tokens. Raises `UnsupportedParameter`."""
    body = {"model": model, "prompt": text, "add_special_tokens": around, "parse_special": special}
    root = base_url.removesuffix("/v1")
    told = yield f"{base_url}/tokenize", body
    if told is None and root != base_url:
        told = yield f"{root}/tokenize", body
        if told is not None and "count" in told and not special:
            raise UnsupportedParameter("parse_special", why="vLLM reads control tokens in every text.")
    if told is not None and "count" not in told:
        told = yield f"{root}/tokenize", {"content": text, "add_special": around, "parse_special": special}
    return _tokens(told)


def tokens_of_prompt(
    base_url: str, model: str, request: GenerateRequest, system: str | None
) -> Generator[Ask, Told, list[int]]:
    """The same of the prompt that `request` would have. Raises `UnsupportedParameter` where a field decides about it
    that no such path takes."""
    if isinstance(request.input, TokensInput):
        return list(request.input.tokens)
    if isinstance(request.input, TextInput):
        return (yield from tokens_of_text(base_url, model, request.input.text, special=True, around=True))
    if request.reasoning_effort is not None:
        raise UnsupportedParameter("reasoning_effort", why="a server elsewhere counts no prompt with it.")
    if request.truncate:
        raise UnsupportedParameter("truncation", why="a server elsewhere counts no prompt with it.")
    _, whole = to_openai(request, model=model, system=system)
    body = {name: whole[name] for name in _OF_A_PROMPT if name in whole}
    if request.tool_choice.mode == "none":
        body.pop("tools", None)
    root = base_url.removesuffix("/v1")
    told = yield f"{base_url}/tokenize", body
    if told is None and root != base_url:
        told = yield f"{root}/tokenize", body
    if told is not None and "count" not in told:
        told = yield f"{root}/apply-template", body
        if told is not None:
            content = {"content": told.get("prompt"), "add_special": True, "parse_special": True}
            told = yield f"{root}/tokenize", content
    return _tokens(told)


def _tokens(told: Told) -> list[int]:
    tokens = None if told is None else told.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise UnsupportedParameter("model", why="the server behind this model does not tell its tokens.")
    return tokens
