"""Options for the fields of `SamplingParams`, made from them (no verb lags behind), and others of a model's. Used by
`set` and `alias set`, its words by the chat as well."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import click
import msgspec

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import RopeScaling
from aiadmin_core.specs.sampling import Parameter, SamplingParams, parameters

NOT_DEFAULTS = frozenset({"logprobs", "logit_bias"})
"""What only a request can mean: the form of its answer, ids of one vocabulary."""
rope_scaling_option = click.option(
    "--rope-scaling",
    type=click.Choice(get_args(RopeScaling)),
    help="How positions are scaled where the context is longer than the trained one.",
)
F = TypeVar("F", bound=Callable[..., Any])


def sampling_options(function: F) -> F:
    """Give a verb an option for each field. Those that were given arrive as texts, by their fields' names."""
    for parameter in reversed(fields()):
        several = isinstance(parameter.default, tuple)
        option = click.option(
            _option(parameter.name),
            metavar="TEXT" if several else "VALUE",
            multiple=several,
            help=parameter.description,
        )
        function = option(function)
    return function


def fields() -> list[Parameter]:
    """The fields that can be a model's defaults."""
    return [parameter for name, parameter in parameters().items() if name not in NOT_DEFAULTS]


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields among a verb's options that were given, as values. Raises `BadRequest` for what a field cannot be."""
    values: dict[str, Any] = {}
    for name in (parameter.name for parameter in fields()):
        text = given.get(name)
        if text is None or text == ():
            continue
        try:
            read = msgspec.convert({name: text}, SamplingParams, strict=False)
        except msgspec.ValidationError as error:
            raise BadRequest(f"{_option(name)} cannot be '{text}': {wanted(error)}.", param=name) from None
        values[name] = msgspec.to_builtins(getattr(read, name))
    return values


def wanted(error: msgspec.ValidationError) -> str:
    """What msgspec expected of a field, in words."""
    text = re.sub(r"^Expected |,? - at .*|, got .*|`| \| null", "", str(error))
    for kind, words in (("float", "a number"), ("int", "a whole number"), ("bool", "true or false")):
        text = re.sub(rf"\b{kind}\b", words, text)
    for sign, words in (("<=", "of at most"), (">=", "of at least"), (">", "above"), ("<", "below")):
        text = text.replace(sign, words)
    return f"it is {text.removesuffix('.0')}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
