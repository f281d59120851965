"""What every API's requests say of sampling and of `keep_alive`: the fields, and from them to core's. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, defstruct

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.parameter import Parameter
from aiadmin_core.specs.sampling import SamplingParams, parameters, plain_parameters

from ..durations import parse_duration
from .naming import named

ALL_OF_THEM = {"top_k": -1}
"""Values below a parameter's range that many servers and clients take for its 0."""

if TYPE_CHECKING:

    class SamplingFields(Struct, frozen=True, kw_only=True):
        """A request's fields for every parameter of `specs.sampling` that has one name everywhere; None leaves it open.

        Made from their declaration, so that a new one is a field of every request by being declared.
        """

else:

    def _field(parameter: Parameter) -> tuple[str, Any, None]:
        """Numbers out of range are refused by each API, in its words: the schema only tells of the range."""
        if parameter.low is None:
            return parameter.name, parameter.annotation | None, None
        schema = {"minimum": ALL_OF_THEM.get(parameter.name, parameter.low), "maximum": parameter.high}
        meta = Meta(description=parameter.description, extra_json_schema=schema)
        return parameter.name, Annotated[parameter.type | None, meta], None

    SamplingFields = defstruct("SamplingFields", map(_field, plain_parameters()), frozen=True, kw_only=True)


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


def keep_alive_s(value: float | str | None) -> float | None:
    """Seconds that the model stays loaded afterwards. Raises `BadRequest`."""
    try:
        return None if value is None else parse_duration(value)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"'keep_alive' cannot be read: {error}.", param="keep_alive") from None
