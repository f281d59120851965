"""From what an API was given to `SamplingParams`, out of range refused under the API's own names. Pure."""

from collections.abc import Mapping
from typing import Any

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.sampling import SamplingParams, parameters

from .naming import named


def sampled(values: Mapping[str, Any], names: Mapping[str, str] = {}) -> tuple[SamplingParams, frozenset[str]]:
    """`values` by core's names, of types that the API's wire has checked, and which of them were given (are not None):
    the last two things a `Call` needs to know of sampling.

    Raises `BadRequest` for the first that is out of its range, called as `names` has it.
    """
    known = parameters()
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        low, high = known[name].low, known[name].high
        if low is not None and high is not None and not low <= value <= high:
            raise named(BadRequest(f"'{name}' must be between {low} and {high}, not {value}.", param=name), names)
    return SamplingParams(**given), frozenset(given)
