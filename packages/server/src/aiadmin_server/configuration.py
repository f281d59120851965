"""Where settings come from: for each, the first of its `AIADMIN_*` variable, Ollama's counterpart of that, the settings
file. (Options of a command go before all of them.)

The file is TOML, `keep_alive = "10m"`, its names those of the variables in lower case and without `AIADMIN_`. Used by
`settings.load_settings`, and by `aiadmin config` and `serve`, which say where a value came from.
"""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from aiadmin_core.errors import BadRequest

from .setting_values import CORRECT
from .settings import FIELDS, Settings, read_settings

PREFIX, THEIR_PREFIX = "AIADMIN_", "OLLAMA_"
FILE_VARIABLE = "AIADMIN_CONFIG"
COUNTERPARTS = {
    f"{THEIR_PREFIX}{name}": f"{PREFIX}{name}"
    for name in (
        "HOST",
        "MODELS",
        "KEEP_ALIVE",
        "LOAD_TIMEOUT",
        "MAX_LOADED_MODELS",
        "MAX_QUEUE",
        "NUM_PARALLEL",
        "CONTEXT_LENGTH",
        "KV_CACHE_TYPE",
        "ORIGINS",
        "NOHISTORY",
        "DEBUG",
    )
}
"""Variables of an Ollama that is, or was, on this machine, and what they are here."""
_FOREVER_AT_ZERO = frozenset({"OLLAMA_LOAD_TIMEOUT"})
_KV_CACHE_TYPES = frozenset({"bf16/f16", "q8_0", "bf16", "f16", "f32"})


class Given(NamedTuple):
    """A setting that somebody has set."""

    text: str
    where: str
    """The variable's name, or the file's path; "" for what is not set yet."""

    @property
    def is_inherited(self) -> bool:
        """Whether it was meant for Ollama."""
        return self.where.startswith(THEIR_PREFIX)


class Configuration(Struct, frozen=True, kw_only=True):
    """What is set, by the names of the variables."""

    given: Mapping[str, Given]
    notes: tuple[str, ...] = ()
    """What of Ollama's variables is used, and what cannot be, one sentence each."""

    def text(self, name: str) -> str:
        """ "" where it is not set."""
        found = self.given.get(name)
        return "" if found is None else found.text

    def where(self, name: str) -> str:
        """Where it comes from; "default" where nobody has set it."""
        found = self.given.get(name)
        return "default" if found is None else found.where

    def texts(self) -> dict[str, str]:
        return {name: given.text for name, given in self.given.items()}

    def settings(self) -> Settings:
        """What all of it comes to. Raises `BadRequest` naming what cannot be read, and where that stands."""
        try:
            return read_settings(self.texts())
        except BadRequest as error:
            raise self._placed(error) from None

    def _placed(self, error: BadRequest) -> BadRequest:
        """`error`, which names a variable, said of the line of the file where that was set."""
        variable = error.param or ""
        where = self.where(variable)
        if where in ("default", variable):
            return error
        name = f"'{key_of(variable)}'" + (f" in '{where}'" if where else "")
        todo = "Correct it there, or remove it." if where else "Nothing was changed."
        return BadRequest(
            error.message.replace(variable, name, 1),
            hint=todo if error.hint == CORRECT else error.hint,
            param=variable,
        )


def load_configuration(environ: Mapping[str, str] | None = None) -> Configuration:
    """What `environ`, or this process's environment, and the settings file say. The file is that of AIADMIN_CONFIG;
    this process's own environment may leave it to the platform.

    Raises `BadRequest` for a file that cannot be read, or has a setting that there is not.
    """
    variables = {key.upper(): trimmed(text) for key, text in (os.environ if environ is None else environ).items()}
    path = Path(variables[FILE_VARIABLE]) if variables.get(FILE_VARIABLE) else None
    if path is None and environ is None:
        path = default_path()
    given = {name: Given(text, str(path)) for name, text in (read_file(path) if path else {}).items()}
    notes: list[str] = []
    for theirs, name in COUNTERPARTS.items():
        if variables.get(theirs) and not variables.get(name):
            text, why_not = _inherited(theirs, name, variables[theirs])
            notes.append(f"{theirs} is left out: {why_not}" if why_not else f"{theirs} is used as {name}: {text}.")
            if not why_not:
                given[name] = Given(text, theirs)
    given |= {name: Given(variables[name], name) for name in FIELDS if variables.get(name)}
    return Configuration(given=given, notes=tuple(notes))


def trimmed(text: str) -> str:
    """Without the spaces and quotes around it that shells and unit files leave."""
    return text.strip().strip("\"'").strip()


def default_path() -> Path:
    """Where this platform keeps the settings of a user's programs; of all users', for one without a home folder."""
    import platformdirs

    try:
        folder = platformdirs.user_config_path("aiadmin", appauthor=False)
    except RuntimeError:
        folder = platformdirs.site_config_path("aiadmin", appauthor=False)
    return folder / "config.toml"


def config_path() -> Path:
    """The settings file of this process, there or not."""
    named = trimmed(os.environ.get(FILE_VARIABLE, ""))
    return Path(named).expanduser() if named else default_path()


def read_file(path: Path) -> dict[str, str]:
    """What a settings file says, by the names of the variables; nothing where there is none. Raises `BadRequest`."""
    try:
        data = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RuntimeError) as error:  # the last of a user without a home folder
        raise BadRequest(
            f"The settings file '{path}' cannot be read: {error}.", hint="Correct it, or move it away."
        ) from None
    return {variable_of(key, where=f" in '{path}'"): _text_of(key, value, path) for key, value in data.items()}


def variable_of(key: str, *, where: str = "") -> str:
    """The variable of a setting, however it is written: `keep_alive`, `keep-alive`, `AIADMIN_KEEP_ALIVE`. Raises
    `BadRequest` for what is none; `where` says where that was found."""
    name = PREFIX + key.upper().replace("-", "_").removeprefix(PREFIX)
    if name in FIELDS and name != FILE_VARIABLE:
        return name
    known = sorted(key_of(variable) for variable in FIELDS if variable != FILE_VARIABLE)
    near = get_close_matches(key.lower(), known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(known)}."
    raise BadRequest(f"There is no setting '{key}'{where}.", hint=hint)


def key_of(variable: str) -> str:
    """What a variable is called in the file."""
    return variable.removeprefix(PREFIX).lower()


def _text_of(key: str, value: Any, path: Path) -> str:
    """A value of the file as a variable would have it."""
    match value:
        case bool():
            return str(int(value))
        case int() | float():
            return str(value)
        case str():
            return trimmed(value)
        case [*items] if all(isinstance(item, str) for item in items):
            return ",".join(items)
    raise BadRequest(
        f"The setting '{key}' in '{path}' is neither a text, a number, true or false, nor a list of texts.",
        hint="Correct it, or remove it.",
    )


def _inherited(theirs: str, name: str, text: str) -> tuple[str, str]:
    """What a variable of Ollama's is here, and why it cannot be: nothing that was written for another program stops
    this one."""
    if theirs in _FOREVER_AT_ZERO and text == "0":
        return "-1", ""
    if name == "AIADMIN_KV_CACHE_TYPE" and text.lower() not in _KV_CACHE_TYPES:
        return "", f"'{text}' is none of {', '.join(sorted(_KV_CACHE_TYPES))}."
    try:
        read_settings({name: text})
    except BadRequest as error:
        return "", error.message.replace(name, "it")
    return text, ""
