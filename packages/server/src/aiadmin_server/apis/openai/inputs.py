"""A field that holds a text, texts, tokens or lists of tokens: `prompt` of completions, `input` of embeddings. Pure."""

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.sampling import MAX_INT

MAX_INPUTS = 2048

Inputs = str | list[str | int | list[int]]
"""As a wire has it; `separate` refuses a mixture."""


def separate(value: Inputs, param: str) -> tuple[str | tuple[int, ...], ...]:
    """The inputs one by one, `param` being the field's name. Raises `BadRequest` by it."""
    if isinstance(value, str):
        return (value,)
    if not value:
        raise BadRequest(f"'{param}' must not be an empty list.", param=param)
    if len(value) > MAX_INPUTS and not isinstance(value[0], int):
        raise BadRequest(f"'{param}' holds at most {MAX_INPUTS} {param}s, not {len(value)}.", param=param)
    if all(isinstance(item, str) for item in value):
        return tuple(text for text in value if isinstance(text, str))
    if all(isinstance(item, int) for item in value):
        return (_tokens([token for token in value if isinstance(token, int)], param),)
    if all(isinstance(item, list) for item in value):
        return tuple(_tokens(item, f"{param}[{i}]") for i, item in enumerate(value) if isinstance(item, list))
    raise BadRequest(f"'{param}' mixes texts and tokens.", hint="Send one kind.", param=param)


def _tokens(tokens: list[int], param: str) -> tuple[int, ...]:
    if not tokens:
        raise BadRequest(f"'{param}' must hold at least one token.", param=param)
    if wrong := next((token for token in tokens if not 0 <= token <= MAX_INT), None):
        raise BadRequest(f"'{param}' holds {wrong}, which is no token id.", param=param)
    return tuple(tokens)
