"""Catalogues as they are written down: TOML, ours beside this module, the user's where AIADMIN_CATALOGUE says. Pure."""

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from aiadmin_core.sources import CatalogueEntry

GB = 10**9


class Family(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models of the default registry that differ in size alone."""

    name: str
    summary: str
    license: str
    default: str
    """Which size its name alone means."""
    sizes: dict[str, Annotated[float, Meta(gt=0)]]
    """Tag -> GB, about."""
    homepage: str = ""

    def entries(self) -> Iterator[CatalogueEntry]:
        yield self._entry(self.name, self.default)
        for tag in self.sizes:
            yield self._entry(f"{self.name}:{tag}", tag)

    def _entry(self, name: str, tag: str) -> CatalogueEntry:
        return CatalogueEntry(
            name=name,
            reference=f"registry:{name}",
            size=int(self.sizes[tag] * GB),
            summary=self.summary,
            license=self.license,
            homepage=self.homepage,
        )


class Catalogue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file."""

    model: tuple[CatalogueEntry, ...] = ()
    family: tuple[Family, ...] = ()

    def entries(self) -> tuple[CatalogueEntry, ...]:
        return (*self.model, *(entry for family in self.family for entry in family.entries()))


def read_catalogue(data: bytes) -> Catalogue:
    """Raises `ValueError` for what is no catalogue, with the place."""
    try:
        found = msgspec.toml.decode(data, type=Catalogue)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 text ({error})") from None
    for family in found.family:
        if family.default not in family.sizes:
            raise ValueError(f"the default '{family.default}' of '{family.name}' is none of its sizes")
    return found
