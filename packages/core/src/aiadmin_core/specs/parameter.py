"""The fields of a Struct that declares parameters (`SamplingParams`, `LoadParams`), as everything else knows them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_type_hints

from msgspec import Meta, Struct, structs


class Parameter(NamedTuple):
    """One field."""

    name: str
    type: Any
    """As the field is annotated, without its `Meta`."""
    annotation: Any
    """With it."""
    default: Any
    low: float | None
    high: float | None
    """The range of a number, both ends in it; None without one."""
    description: str


def parameters_of(kind: type[Struct]) -> Mapping[str, Parameter]:
    """The fields of `kind`, whose every field has a default, by name and in the order of their declaration."""
    types = get_type_hints(kind)
    annotations = get_type_hints(kind, include_extras=True)
    defaults = kind()
    return {
        field.name: Parameter(
            name=field.name,
            type=types[field.name],
            annotation=annotations[field.name],
            default=getattr(defaults, field.name),
            low=_meta(annotations[field.name], "ge"),
            high=_meta(annotations[field.name], "le"),
            description=_meta(annotations[field.name], "description") or "",
        )
        for field in structs.fields(kind)
    }


def _meta(annotation: Any, attribute: str) -> Any:
    """What the `Meta` of an annotation say, the outermost first."""
    return next((value for meta in _metas(annotation) if (value := getattr(meta, attribute)) is not None), None)


def _metas(annotation: Any) -> Iterator[Meta]:
    if hasattr(annotation, "__metadata__"):
        yield from annotation.__metadata__
        yield from _metas(annotation.__origin__)
    else:
        for part in get_args(annotation):  # of a union
            yield from _metas(part)
