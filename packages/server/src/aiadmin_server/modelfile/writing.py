"""A model as a Modelfile that makes the same again. Pure; used by `aiadmin show` and `/api/show`."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from aiadmin_core.specs.content import plain_text

from ..store.defaults import Default
from ..store.model import StoredModel
from .parameters import NAMES
from .recipe import Recipe


def write(recipe: Recipe) -> str:
    """`recipe` as text; `parse` reads the same from it. Texts that no quotes can hold are left to what FROM brings."""
    return "\n".join(_lines(recipe)) + "\n"


def recipe_of(model: StoredModel, defaults: Mapping[str, Default] = {}) -> Recipe:
    """What makes the same of `model` again: all that goes with its files, what `aiadmin set` stored included, and of
    `defaults` what the name it was asked for by adds (an alias)."""
    system = model.system_message
    known = model.defaults
    added = {name: one.value for name, one in defaults.items() if name in NAMES and known.get(name) != one}
    return Recipe(
        bases=(model.name,),
        parameters=model.parameters | model.own.parameters | added,
        template=model.template,
        system=system if system or not model.system else "",
        messages=model.messages or None,
        licenses=(model.license,) if model.license else (),
        about=model.about,
    )


def parameter_lines(parameters: Mapping[str, Any]) -> list[str]:
    """A line for each parameter, or for each item of a list, in columns."""
    return [f"{name:<30} {_shown(value)}" for name, value in _each(parameters)]


def _lines(recipe: Recipe) -> Iterator[str]:
    for base in recipe.bases:
        yield f"FROM {quoted(base)}"
    for name, text in (("TEMPLATE", recipe.template), ("SYSTEM", recipe.system)):
        if text is not None:
            yield f'{name} """{text}"""' if can_be_quoted(text) else f"# {name} is that of FROM: it holds quotes."
    for name, value in _each(recipe.parameters):
        yield f"PARAMETER {name} {quoted(value) if isinstance(value, str) else _shown(value)}"
    for message in recipe.messages or ():
        yield f"MESSAGE {message.role} {quoted(plain_text(message.content))}"
    for text in filter(can_be_quoted, recipe.licenses):
        yield f'LICENSE """{text}"""'
    for name, text in recipe.about.items():
        yield f"{name.upper()} {quoted(text)}"


def quoted(text: str) -> str:
    """`text` so that it is read as it is: plain, or between quotes where white space or quotes would be lost."""
    plain = text == text.strip() and text and "\n" not in text and "\r" not in text and not text.startswith('"')
    if plain:
        return text
    return f'"""{text}"""' if "\n" in text or '"' in text else f'"{text}"'


def can_be_quoted(text: str) -> bool:
    """Whether a Modelfile can say `text`: three quotes end one, and line ends are all alike."""
    return '"""' not in text and "\r" not in text


def _each(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in parameters.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            yield name, item


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()
