"""Options for every parameter that can be a default, made from their declarations (no verb lags behind). Used by `set`
and `alias set`."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args, get_origin

import click

from ..routing.defaults import default_parameters, read_default

F = TypeVar("F", bound=Callable[..., Any])


def parameter_options(function: F) -> F:
    """Give a verb an option for each. Those that were given arrive as texts, by their parameters' names."""
    for parameter in reversed([*default_parameters().values()]):
        several = get_origin(parameter.type) is tuple
        option = click.option(
            option_of(parameter.name),
            type=click.Choice(choices) if (choices := _choices(parameter.type)) else click.STRING,
            metavar="TEXT" if several else None if choices else "VALUE",
            multiple=several,
            help=parameter.description,
        )
        function = option(function)
    return function


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters among a verb's options that were given, as values. Raises `BadRequest` for what one cannot be."""
    texts = {name: given.get(name) for name in default_parameters()}
    return {
        name: read_default(name, text, called=option_of(name), strict=False)
        for name, text in texts.items()
        if text is not None and text != ()
    }


def option_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _choices(kind: Any) -> list[str]:
    """The values of a parameter that has only a few."""
    return [value for part in get_args(kind) for value in get_args(part) if isinstance(value, str)]
