"""What is asked of the server, whichever API it was asked through. Made by each API's `to_core`, read by `settle`.

What a request asks for ends in one of four ways: it is in a `Request` of core's; it has no effect, as the API's `wire`
says beside the field; it is `Unplaced`, to be passed on to an engine that forwards it, and otherwise refused by name
unless it asks for nothing, or is a hint; or nobody knows it, and it is left out and named in the answer. What an engine
cannot do with it is `aiadmin_core.refuse`'s business.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import GenerateRequest, NamedAdapter, Request

from ..http.record import Record


class Unplaced(Struct, frozen=True, kw_only=True):
    """A field of the API's that core's specs have no place for."""

    name: str
    value: Any
    """Plain JSON."""
    why: str = ""
    """Said when it is refused; "" where the value asks for nothing that is not done anyway."""
    is_hint: bool = False
    """The answer is right without it: where it cannot be had it is left out and named, not refused."""


class Call(Struct, frozen=True, kw_only=True):
    """A request as the server carries it out."""

    model: str
    requests: tuple[Request, ...]
    """One for each prompt, all of one kind and with the same `n`; their `id` is not set yet. None: the model is loaded,
    no more."""
    given: frozenset[str] = frozenset()
    """Fields of `SamplingParams` that the client set: the others may get the model's own defaults."""
    defaults: Mapping[str, Any] = {}
    """The API's own defaults for fields of `SamplingParams`: what neither the client nor the model says, as far as the
    engine has it."""
    must_reason: bool = False
    """Whether a `reasoning_effort` is refused by an engine that does not reason, and not left out as a hint."""
    keep_alive_s: float | None = None
    """How long the model stays loaded afterwards, where the request says."""
    lora: tuple[NamedAdapter, ...] | None = None
    """The adapters to apply, where the request says: instead of the name's own."""
    load: EngineOptions | None = None
    """How the model is to be opened, where the request says."""
    names: Mapping[str, str] = {}
    """What this client calls a neutral field, where its API's own `names` do not say it: two fields of an API may
    become the same one here."""
    unplaced: tuple[Unplaced, ...] = ()
    unknown: Mapping[str, Any] = {}
    """Fields nobody knows, by path."""

    @property
    def n_choices(self) -> int:
        """Of all its requests together."""
        return sum(map(n_choices, self.requests))


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks, and what their API calls things."""

    endpoint: str
    """The path that was called."""
    identity: str | None = None
    """A plugin's name for them."""
    names: Mapping[str, str] = {}
    """The API's name for each neutral field that it calls something else."""
    record: Record = field(default_factory=Record)
    """Where is written down what becomes of it."""


def n_choices(request: Request) -> int:
    """How many `Finished` a request ends with."""
    return request.n if isinstance(request, GenerateRequest) else 1


def portable(value: Any, path: str) -> Any:
    """`value`, if the runner's protocol can carry it: integers of at most 64 bits."""
    if isinstance(value, dict):
        for key, item in value.items():
            portable(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            portable(item, f"{path}[{index}]")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise BadRequest(f"'{path}' holds a number of more than 64 bits.", param=path)
    return value
