"""Templates that say how a gap between two texts is asked for: those in Go's language that know `.Suffix`. Pure."""

from collections.abc import Callable

from ..errors import BadRequest
from .template import Template, language_of, read_template

Infill = Callable[[str, str], str]
"""The prompt that asks for what stands between a first and a second text."""


def infill_of(template: Template | None) -> Infill | None:
    """How the template asks; None where it does not."""
    from .go_template.chat import GoChatTemplate

    return template.infill if isinstance(template, GoChatTemplate) and template.infills else None


def infills(source: str) -> bool:
    """Whether a template asks for gaps, as far as its source tells."""
    if language_of(source) != "go":
        return False
    try:
        return infill_of(read_template(source)) is not None
    except BadRequest:
        return False
