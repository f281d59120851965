"""Errors about neutral fields, told under the names that the caller's API has for them. Used by `exchange`, `settle`.

What is `max_tokens` in core's specs is something else in many an API. What an API's own `to_core` raises has the right
names already and does not come here.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from aiadmin_core.errors import AiAdminError

E = TypeVar("E", bound=AiAdminError)

_STEP = re.compile(r"[.\[]|$")


def named(error: E, names: Mapping[str, str]) -> E:
    """`error` with its field called as `names` has it, in `param` and wherever the message quotes it. A name may be
    that of a path (`tools[0]`): the longest that `param` begins with is taken.

    A copy where something changes: the router keeps errors for others who ask.
    """
    if not error.param:
        return error
    ends = [step.start() for step in _STEP.finditer(error.param)]
    end = next((end for end in reversed(ends) if error.param[:end] in names), None)
    if end is None:
        return error
    param = names[error.param[:end]] + error.param[end:]
    twin = type(error).__new__(type(error))
    twin.__dict__.update(error.__dict__)
    twin.__cause__, twin.__traceback__ = error.__cause__, error.__traceback__
    twin.param = param
    twin.message = error.message.replace(f"'{error.param}'", f"'{param}'")
    twin.args = (twin.message,)
    return twin


@contextmanager
def naming(names: Mapping[str, str], *, own: Collection[str] = ()) -> Iterator[None]:
    """Raise within it what `named` makes of an error. `own` are names that are the API's already: of fields that were
    passed on as they came."""
    try:
        yield
    except AiAdminError as error:
        if error.param in own or (twin := named(error, names)) is error:
            raise
        raise twin from twin.__cause__
