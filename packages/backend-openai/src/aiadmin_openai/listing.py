"""What an upstream says it serves: `GET /models`. Blocking; used by `source` when a model is pulled, and by `backend`
when it is opened."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from aiadmin_core.public import PublicTransport
from aiadmin_core.specs.model import ModelFacts

from .failures import in_words, read_error, redact
from .remote import host_of


class Meta(Struct):
    """llama-server's."""

    n_ctx: int | None = None
    n_ctx_train: int | None = None
    n_embd: int | None = None
    n_params: int | None = None
    n_vocab: int | None = None
    size: int | None = None


class Entry(Struct):
    id: str
    max_model_len: int | None = None
    """vLLM's."""
    context_length: int | None = None
    """AiAdmin's, and several hosted services': not always what it is served with."""
    meta: Meta | None = None

    def is_called(self, name: str) -> bool:
        """`smollm2` and `smollm2:latest` are one model on servers that have tags."""
        return self.id.removesuffix(":latest") == name.removesuffix(":latest")


class _Models(Struct):
    data: list[Entry]


class Listing(Struct, frozen=True, kw_only=True):
    """One upstream's answer."""

    host: str
    models: tuple[Entry, ...] = ()
    lists: bool = True
    """False: it answers, and has no list."""
    error: str = ""
    """Why it did not answer; "" if it did. Never holds a key."""


def ask(url: str, *, headers: Mapping[str, str], timeout_s: float, public_only: bool = False) -> Listing:
    """Never raises for the upstream's sake."""
    host = host_of(url)
    try:
        response = _get(f"{url}/models", headers, timeout_s, public_only)
    except httpx.HTTPError as error:
        return Listing(host=host, error=in_words(error))
    except (httpx.InvalidURL, UnicodeError):  # the latter from names that no DNS could hold
        return Listing(host=host, error="that is no host name")
    if response.status_code in (404, 405):
        return Listing(host=host, lists=False)
    if response.status_code in (401, 403):
        return Listing(host=host, error=f"it refuses the API key ({response.status_code})")
    if not response.is_success:
        key = headers.get("authorization", "").removeprefix("Bearer ")
        message = redact(read_error(response.content)[0], key)[:300]
        return Listing(host=host, error=f"it answered {response.status_code}" + (f": {message}" if message else ""))
    try:
        return Listing(host=host, models=tuple(msgspec.json.decode(response.content, type=_Models).data))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Listing(host=host, error=f"what it sends at {httpx.URL(url).path}/models is no list of models")


def knows(url: str, model: str, *, headers: Mapping[str, str], timeout_s: float, public_only: bool = False) -> bool:
    """Whether it serves a model by a name it does not list: an alias, a name without its tag."""
    try:
        response = _get(f"{url}/models/{quote(model, safe='')}", headers, timeout_s, public_only)
    except httpx.HTTPError:
        return False
    return response.is_success


def _get(url: str, headers: Mapping[str, str], timeout_s: float, public_only: bool) -> httpx.Response:
    transport = PublicTransport() if public_only else None
    with httpx.Client(headers=dict(headers), timeout=timeout_s, transport=transport) as client:
        return client.get(url)


def facts(model: str, listings: list[Listing]) -> ModelFacts:
    """What the upstreams that answered say about `model`; the smallest context counts."""
    entries = [entry for listing in listings for entry in listing.models if entry.is_called(model)]
    contexts = [n for entry in entries if (n := entry.max_model_len or (entry.meta or Meta()).n_ctx)]
    meta: Any = next((entry.meta for entry in entries if entry.meta), Meta())
    return ModelFacts(
        device="remote",
        n_ctx=min(contexts, default=0),
        n_ctx_train=meta.n_ctx_train or next((n for entry in entries if (n := entry.context_length)), 0),
        n_embd=meta.n_embd or 0,
        n_params=meta.n_params or 0,
        n_vocab=meta.n_vocab or 0,
        size_bytes=meta.size or 0,
    )
