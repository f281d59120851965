"""Aliases: names that follow a model, with settings of their own. (`cp` gives a model a second name that does not.)

One JSON file; each change rewrites it in one step under a lock. Used by the resolver and by `aiadmin alias`.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from aiadmin_core.errors import BadRequest, StoreError

from ..durations import parse_duration
from .disk import disk_errors, write_file
from .locking import locked
from .names import parse_name, same_name


class Alias(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a name stands for instead, and how that is to be served."""

    target: str
    """A model, another alias, or either behind a backend's name (`llamacpp/smollm2`)."""
    backend: str | None = None
    """The backend that must serve it."""
    keep_alive: str | float | None = None
    """As in a request: seconds, or a text such as "10m"; negative is forever."""
    n_ctx: int | None = None
    n_parallel: int | None = None
    parameters: dict[str, Any] = {}
    """Sampling defaults that go before the model's own."""


_decoder = msgspec.json.Decoder(dict[str, Alias])


class Aliases:
    """The aliases in one file. Nothing is kept in memory: another process may change it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> dict[str, Alias]:
        """Every alias by its name, in alphabetical order. A file that cannot be read has none: `problem` says why."""
        try:
            return self._read()
        except (OSError, ValueError):
            return {}

    def problem(self) -> str:
        """Why the file cannot be read; "" where it can, or there is none."""
        try:
            self._read()
        except (OSError, ValueError) as error:
            return f"the aliases in '{self.path}' cannot be read: {error}"
        return ""

    def get(self, name: str) -> Alias | None:
        """The alias of this name, in whatever case it is written."""
        return find_alias(self.all(), name)

    def set(self, name: str, alias: Alias) -> None:
        """Make `name` an alias, or change it. Raises `InvalidName`, `BadRequest` for a loop or a bad duration,
        `StoreError`."""
        parse_name(name)
        if alias.keep_alive is not None:
            try:
                parse_duration(alias.keep_alive)
            except ValueError as error:
                raise BadRequest(f"keep_alive: {error}.", param="keep_alive") from None
        with self._changing():
            aliases = {other: kept for other, kept in self._read().items() if not same_name(other, name)}
            aliases[name] = alias
            loop = find_loop(aliases, name)
            if loop:
                raise BadRequest(
                    f"The alias '{name}' would lead back to itself: {' -> '.join(loop)}.",
                    hint="Let it name a model instead.",
                )
            self._write(aliases)

    def remove(self, name: str) -> None:
        """Raises `BadRequest` where there is no such alias, `StoreError`."""
        with self._changing():
            aliases = self._read()
            kept = {other: alias for other, alias in aliases.items() if not same_name(other, name)}
            if len(kept) == len(aliases):
                raise BadRequest(f"There is no alias '{name}'.", hint="`aiadmin alias list` shows the aliases.")
            self._write(kept)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        doing = "changing the aliases"
        with locked(self.path.with_suffix(".lock"), doing=doing), disk_errors(doing, self.path):
            try:
                yield
            except ValueError as error:  # the file as it stands: never overwrite what nobody could read
                raise StoreError(
                    f"The aliases in '{self.path}' cannot be read: {error}.", hint="Correct the file, or remove it."
                ) from error

    def _read(self) -> dict[str, Alias]:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return dict(sorted(_decoder.decode(data).items()))

    def _write(self, aliases: Mapping[str, Alias]) -> None:
        data = msgspec.json.format(msgspec.json.encode(dict(sorted(aliases.items()))), indent=2)
        write_file(self.path, data + b"\n", scratch=self.path.parent / "scratch")


def find_alias(aliases: Mapping[str, Alias], name: str) -> Alias | None:
    """The alias called `name`; `gpt-4` and `GPT-4:latest` are one. Pure."""
    if name in aliases:
        return aliases[name]
    return next((alias for other, alias in aliases.items() if same_name(other, name)), None)


def find_loop(aliases: Mapping[str, Alias], name: str) -> list[str]:
    """The names from `name` round to itself; empty where the chain ends. Pure."""
    chain = [name]
    while alias := find_alias(aliases, chain[-1]):
        chain.append(alias.target)
        if any(same_name(alias.target, earlier) for earlier in chain[:-1]):
            return chain
    return []
