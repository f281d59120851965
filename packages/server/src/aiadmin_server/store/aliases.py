"""Aliases: names that follow a model, with settings of their own. (`cp` gives a model a second name that does not.)

One JSON file; each change rewrites it in one step under a lock. Used by the resolver and by `aiadmin alias`.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from aiadmin_core.errors import AiAdminError, BadRequest, StoreError
from aiadmin_core.specs.request import NamedAdapter

from ..durations import parse_duration
from .disk import disk_errors, write_file
from .locking import locked
from .patterns import best_pattern, check_alias_name, same_alias


class AliasNotFound(AiAdminError):
    """There is no alias of this name."""

    code, status = "alias_not_found", 404

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no alias '{name}'.", hint="`aiadmin alias list` shows the aliases.", param="name")


class Alias(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a name stands for instead, and how that is to be served."""

    target: str
    """A model, another alias, or either behind a backend's name (`llamacpp/smollm2`)."""
    fallbacks: tuple[str, ...] = ()
    """The same, in the order they are tried where the target is missing, cannot be loaded or is full."""
    backend: str | None = None
    """The backend that must serve it."""
    keep_alive: str | float | None = None
    """As in a request: seconds, or a text such as "10m"; negative is forever."""
    system: str | None = None
    """A system message for conversations that have none; goes before the model's own."""
    lora: tuple[NamedAdapter, ...] | None = None
    """The adapters to apply, instead of the model's own."""
    parameters: dict[str, Any] = {}
    """Defaults that go before the model's own, by the names of `SamplingParams` and `LoadParams`."""

    @property
    def targets(self) -> tuple[str, ...]:
        """What it may stand for, in order."""
        return (self.target, *self.fallbacks)


class _Written(Alias, frozen=True, kw_only=True):
    """An entry of the file: an earlier version kept two load options apart."""

    n_ctx: Annotated[int, Meta(ge=1)] | None = None
    n_parallel: Annotated[int, Meta(ge=1)] | None = None

    def alias(self) -> Alias:
        earlier = {"num_ctx": self.n_ctx, "num_parallel": self.n_parallel}
        known = {name: value for name, value in earlier.items() if value is not None}
        return Alias(
            target=self.target,
            fallbacks=self.fallbacks,
            backend=self.backend,
            keep_alive=self.keep_alive,
            system=self.system,
            lora=self.lora,
            parameters=known | self.parameters,
        )


Check = Callable[[Mapping[str, Alias]], None]
"""Looks at all aliases as they would be after a change; raises why they must not be."""
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_entry_decoder = msgspec.json.Decoder(_Written)
_encoder = msgspec.json.Encoder()


class Aliases:
    """The aliases in one file. Nothing is kept in memory: another process may change it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> dict[str, Alias]:
        """Every alias by its name, in alphabetical order, as far as they can be read: `problem` says what cannot, and
        `check` whether a name is among that."""
        try:
            return self._read()[0]
        except (OSError, ValueError):
            return {}

    def problem(self) -> str:
        """What of the file cannot be read; "" where all can, or there is none."""
        try:
            faults = self._read()[1]
        except (OSError, ValueError) as error:
            return f"the aliases in '{self.path}' cannot be read: {error}"
        return "; ".join(f"the alias '{name}' in '{self.path}': {fault}" for name, fault in faults.items())

    def check(self, name: str) -> None:
        """Raise `StoreError` where `name` may be an alias and nobody can say: the file, or its entry, is damaged."""
        try:
            aliases, faults = self._read()
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        fault = next((fault for other, fault in faults.items() if same_alias(other, name)), "")
        if fault and find_alias(aliases, name) is None:
            raise StoreError(
                f"The alias '{name}' in '{self.path}' cannot be used: {fault}.",
                hint=f"Correct the file, or set it again: `aiadmin alias set {name} MODEL`.",
            )

    def get(self, name: str) -> Alias | None:
        """The alias of this name, in whatever case it is written."""
        return find_alias(self.all(), name)

    def set(self, name: str, alias: Alias, check: Check = lambda _: None) -> None:
        """Make `name` an alias, or change it; `check` is asked before, while nobody else changes any.

        Raises `InvalidName`, `BadRequest` for a bad duration, `StoreError`, and what `check` does.
        """
        check_alias_name(name)
        if alias.keep_alive is not None:
            try:
                parse_duration(alias.keep_alive)
            except ValueError as error:
                raise BadRequest(f"keep_alive: {error}.", param="keep_alive") from None
        with self._changing() as entries:
            others = {other: kept for other, kept in self._read()[0].items() if not same_alias(other, name)}
            check(others | {name: alias})
            self._drop(entries, name)
            entries[name] = msgspec.Raw(_encoder.encode(alias))

    def remove(self, name: str) -> None:
        """Raises `AliasNotFound`, `StoreError`."""
        with self._changing() as entries:
            if not self._drop(entries, name):
                raise AliasNotFound(name)

    @staticmethod
    def _drop(entries: dict[str, msgspec.Raw], name: str) -> int:
        """Take out `name`, however it is written; how many entries that was."""
        found = [other for other in entries if same_alias(other, name)]
        for other in found:
            del entries[other]
        return len(found)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, msgspec.Raw]]:
        """The entries as they are written, to be changed; what of them cannot be read stays as it is. A file that
        nobody could read is never overwritten."""
        doing = "changing the aliases"
        with locked(self.path.with_suffix(".lock"), doing=doing), disk_errors(doing, self.path):
            try:
                entries = self._entries()
            except ValueError as error:
                raise self._unreadable(error) from error
            yield entries
            data = msgspec.json.format(_encoder.encode(dict(sorted(entries.items()))), indent=2)
            write_file(self.path, data + b"\n", scratch=self.path.parent / "scratch")

    def _unreadable(self, error: Exception) -> StoreError:
        return StoreError(
            f"The aliases in '{self.path}' cannot be read: {error}.",
            hint="Correct the file, or move it away and set the aliases again.",
        )

    def _entries(self) -> dict[str, msgspec.Raw]:
        try:
            return _decoder.decode(self.path.read_bytes())
        except FileNotFoundError:
            return {}

    def _read(self) -> tuple[dict[str, Alias], dict[str, str]]:
        """The aliases, and what is wrong with the entries of others. Raises `OSError`, `ValueError` for the file."""
        aliases: dict[str, Alias] = {}
        faults: dict[str, str] = {}
        for name, entry in sorted(self._entries().items()):
            try:
                alias = _entry_decoder.decode(entry).alias()
            except ValueError as error:
                faults[name] = str(error)
                continue
            try:
                if alias.keep_alive is not None:
                    parse_duration(alias.keep_alive)
            except ValueError as error:  # what it stands for is clear: better served without than not at all
                faults[name] = f"keep_alive is left out: {error}"
                alias = replace(alias, keep_alive=None)
            aliases[name] = alias
        return aliases, faults


def find_alias(aliases: Mapping[str, Alias], name: str) -> Alias | None:
    """The alias called `name`; `gpt-4` and `GPT-4:latest` are one. Pure."""
    if name in aliases:
        return aliases[name]
    return next((alias for other, alias in aliases.items() if same_alias(other, name)), None)


def match_alias(aliases: Mapping[str, Alias], name: str) -> tuple[str, Alias] | None:
    """The pattern that `name`, which is no alias's own, goes by, and what it stands for. Pure."""
    pattern = best_pattern(aliases, name)
    return None if pattern is None else (pattern, aliases[pattern])
