"""What the text of one setting stands for: durations, counts, words, addresses, folders. Pure but for the home folder.

Each raises `BadRequest` for a text that stands for nothing. Its message has the name of the variable, and so has its
`param`. Used by `settings.read_settings` alone.
"""

import re
import socket
import sys
from pathlib import Path
from typing import TypeVar, get_args

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.loading import MAX_REPLICAS
from aiadmin_core.specs.model import RopeScaling

from .durations import parse_duration

DEFAULT_PORT = 11434
DEFAULT_REGISTRY = "https://registry.ollama.ai"
CORRECT = "Unset it, or correct it."
Choice = TypeVar("Choice", bound=str)


def duration(name: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}.", hint=CORRECT, param=name) from None


def count(name: str, text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        raise BadRequest(f"{name} must be a whole number of 0 or more, not '{text}'.", hint=CORRECT, param=name)
    return int(text)


def replicas(name: str, text: str) -> int:
    n_replicas = count(name, text)
    if n_replicas > MAX_REPLICAS:
        raise BadRequest(
            f"{name} is at most {MAX_REPLICAS}, not {n_replicas}.",
            hint="Each is a process with the whole model: one for each GPU or NUMA node is what helps.",
            param=name,
        )
    return n_replicas


def runner_memory(name: str, text: str, *, platform: str = sys.platform) -> int:
    mib = count(name, text)
    if mib and not platform.startswith("linux"):
        raise BadRequest(f"{name} can be had on Linux only.", hint="Unset it.", param=name)
    return mib


def choice(name: str, text: str, choices: tuple[Choice, ...]) -> Choice:
    """One of `choices`, the first where nothing is said."""
    for choice in choices:
        if choice == (text.lower() or choices[0]):
            return choice
    raise BadRequest(f"{name} is {' or '.join(choices)}, not '{text}'.", hint=CORRECT, param=name)


def rope_scaling(name: str, text: str) -> RopeScaling | None:
    choices: tuple[RopeScaling, ...] = get_args(RopeScaling)
    return choice(name, text, choices) if text else None


def api_key(name: str, text: str) -> str:
    """As it goes into a header. What it is, is not said in the error."""
    if not (text.isascii() and text.isprintable()):
        raise BadRequest(f"{name} holds characters that no API key has.", hint=CORRECT, param=name)
    return text


def registry(text: str) -> str:
    """A base URL; https where nothing is said, http for this machine."""
    if not text:
        return DEFAULT_REGISTRY
    scheme, separator, host = text.rpartition("://")
    host = host.rstrip("/")
    is_host = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d+)?", host)
    if (separator and scheme not in ("http", "https")) or not is_host:
        raise BadRequest(
            "AIADMIN_REGISTRY is no address of a registry.",
            hint="Write `https://host` or `https://host:port`. Users and passwords belong into "
            "AIADMIN_REGISTRY_CREDENTIALS.",
            param="AIADMIN_REGISTRY",
        )
    return f"{scheme or 'https'}://{host.lower()}"


def credentials(text: str) -> dict[str, tuple[str, str]]:
    """What they are is not said in the error."""
    found: dict[str, tuple[str, str]] = {}
    for one in text.split():
        host, _, rest = one.partition("=")
        user, colon, password = rest.partition(":")
        if not (host and user and colon):
            raise BadRequest(
                "AIADMIN_REGISTRY_CREDENTIALS cannot be read.",
                hint="Write `host=user:password`, separated by spaces.",
                param="AIADMIN_REGISTRY_CREDENTIALS",
            )
        found[host.lower()] = (user, password)
    return found


def switch(text: str) -> bool:
    return text.lower() not in ("", "0", "false", "no", "off")


def folders(models: str, state: str) -> tuple[Path, Path]:
    """The folders of models and of state. Without a home folder (a container's user, a service's), whatever is named
    is enough: state that nobody placed goes beside the models. Raises `BadRequest` where nothing is named, or a file
    is, or something in one."""
    named = {"AIADMIN_MODELS": models, "AIADMIN_STATE": state}
    try:
        folders = {name: Path(text).expanduser() for name, text in named.items() if text}
    except RuntimeError:
        raise BadRequest(
            f"There is no home folder for '~' in {' or '.join(name for name in named if '~' in named[name])}.",
            hint="Write the whole path, or set HOME.",
        ) from None
    for name, folder in folders.items():
        file = next((place for place in (folder, *folder.parents) if place.is_file()), None)
        if file is not None:
            verb = "names" if file == folder else "lies in"
            raise BadRequest(f"{name} {verb} a file, not a folder: {file}", hint=CORRECT, param=name)
    if "AIADMIN_STATE" not in folders:
        try:
            folders["AIADMIN_STATE"] = Path.home() / ".aiadmin"
        except RuntimeError:  # no HOME, and a uid that no passwd entry names
            if not models:
                raise BadRequest(
                    "There is no home folder to keep models in.", hint="Name a folder in AIADMIN_MODELS, or set HOME."
                ) from None
            folders["AIADMIN_STATE"] = folders["AIADMIN_MODELS"] / "aiadmin" / "state"
    return folders.get("AIADMIN_MODELS", folders["AIADMIN_STATE"] / "models"), folders["AIADMIN_STATE"]


def address(text: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and base path of `[scheme://]host[:port][/path]`; a missing or bad port is the scheme's, else
    the default. Raises `BadRequest` for what is neither used nor meant to be."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    rest, _, path = rest.partition("/")
    default = {"": DEFAULT_PORT, "http": 80, "https": 443}.get(scheme.lower())
    if default is None or "@" in rest or any(mark in text for mark in "?#"):
        raise BadRequest(
            "AIADMIN_HOST is no address of an http or https server"
            + (": it holds a user, a query or a fragment." if default else f": '{scheme}' is another scheme."),
            hint="Write `host`, `host:port` or `http://host:port`. Keys belong into AIADMIN_API_KEY.",
            param="AIADMIN_HOST",
        )
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") > 1 and _is_ipv6(rest):
        host, port = rest, ""
    else:
        host, _, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
    valid = port.isdecimal() and int(port) < 65536
    base_path = f"/{path.strip('/')}" if path.strip("/") else ""
    return scheme.lower() or "http", host or "127.0.0.1", int(port) if valid else default, base_path


def host_names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(part.strip().lower().rstrip(".") for part in text.split(",") if part.strip())
    for one in names:
        if not re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[?[0-9a-f:.]+\]?", one):
            raise BadRequest(
                f"{name} holds '{one}', which is no host name.",
                hint="Names only, without scheme, port or path: `ai.example.org`.",
                param=name,
            )
    return names


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True
