"""Conversations that `/save` keeps and `/load` brings back: one JSON file each, in the folder of the state."""

import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from aiadmin_core.errors import BadRequest, StoreError

from ..store.disk import disk_errors, write_file
from ._conversation import Conversation

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


class Session(Struct, frozen=True, kw_only=True):
    """A conversation as it is kept."""

    model: str
    system: str | None = None
    options: dict[str, Any] = {}
    messages: list[dict[str, Any]] = []


class Sessions:
    """Those in one folder, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        try:
            return sorted(path.stem for path in self.folder.glob("*.json"))
        except OSError:
            return []

    def save(self, name: str, conversation: Conversation, *, replace: bool = False) -> None:
        """Raises `BadRequest` for a name that is none, or taken; `StoreError`."""
        path = self._path(name)
        if path.exists() and not replace:
            raise BadRequest(
                f"There is a saved conversation '{name}' already.",
                hint=f"`/save! {name}` replaces it.",
            )
        session = Session(
            model=conversation.model,
            system=conversation.system,
            options=conversation.options,
            messages=conversation.messages,
        )
        with disk_errors("saving the conversation", self.folder):
            write_file(path, msgspec.json.encode(session), scratch=self.folder)
            path.chmod(0o600)

    def load(self, name: str) -> Session | None:
        """None where there is none. Raises `StoreError` for one that cannot be read."""
        if not _NAME.fullmatch(name):
            return None
        path = self._path(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Session)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"The conversation in '{path}' cannot be read: {error}.") from None

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadRequest(
                f"'{name}' is no name for a conversation.",
                hint="Letters, digits, '_', '-' and '.', not more than 80.",
            )
        return self.folder / f"{name}.json"
