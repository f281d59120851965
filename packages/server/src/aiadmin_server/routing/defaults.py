"""What a model's name may have as defaults: the parameters of sampling and of loading, read and checked. Used by
`aiadmin set` and `alias`, and by `/api/aliases`. Pure."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, get_origin

import msgspec

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.loading import LoadParams, load_parameters
from aiadmin_core.specs.parameter import Parameter
from aiadmin_core.specs.sampling import SamplingParams, parameters

NOT_DEFAULTS = frozenset({"logprobs", "logit_bias"})
"""What only a request can mean: the form of its answer, ids of one vocabulary."""


@cache
def default_parameters() -> Mapping[str, Parameter]:
    """Every parameter that can be a default, by name: those of sampling, then those of loading."""
    sampling = {name: parameter for name, parameter in parameters().items() if name not in NOT_DEFAULTS}
    return sampling | dict(load_parameters())


def read_default(name: str, value: Any, *, called: str, strict: bool = True) -> Any:
    """A value for a parameter as it is stored; a text is read as what it spells unless `strict`. Raises `BadRequest`,
    where the parameter is called `called`."""
    kind = LoadParams if name in load_parameters() else SamplingParams
    if isinstance(value, str) and get_origin(default_parameters()[name].type) is tuple:
        value = (value,)  # one text is a list of one, as in a request
    try:
        read = msgspec.convert({name: value}, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{called} cannot be {_shown(value)}: {wanted(error)}.", param=called) from None
    return msgspec.to_builtins(getattr(read, name))


def read_defaults(values: Mapping[str, Any], *, within: str) -> dict[str, Any]:
    """Values of several parameters, as JSON has them in the field `within`; null counts as absent. Raises `BadRequest`
    for the first that is none, or cannot be one."""
    known = default_parameters()
    for name in values:
        if name not in known:
            raise BadRequest(f"There is no parameter '{name}'.", hint=nearest(name, known), param=f"{within}.{name}")
    given = {name: value for name, value in values.items() if value is not None}
    return {name: read_default(name, value, called=f"{within}.{name}") for name, value in given.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """What may be meant by `name`."""
    known = list(known)
    near = get_close_matches(name, known, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(known)}."


def wanted(error: msgspec.ValidationError) -> str:
    """What msgspec expected of a field, in words."""
    text = re.sub(r"^Expected |,? - at .*|, got .*|`| \| null", "", str(error))
    if choices := re.match(r"Invalid enum value", text):
        return f"it is none of its values{text[choices.end() :]}"
    for kind, words in (
        ("float", "a number"),
        ("int", "a whole number"),
        ("bool", "true or false"),
        ("array", "a list"),
    ):
        text = re.sub(rf"\b{kind}\b", words, text)
    for sign, words in (("<=", "of at most"), (">=", "of at least"), (">", "above"), ("<", "below")):
        text = text.replace(sign, words)
    return f"it is {text.removesuffix('.0')}"


def _shown(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else msgspec.json.encode(value).decode()
