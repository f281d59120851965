"""Settings of the server and the command line: `AIADMIN_*` variables, read once at the edge.

`FIELDS` is the reference: `docs/reference/settings.md` is checked against it. Values are trimmed of spaces and
quotes, names are matched without regard to case (so `AiAdmin_HOST` works).
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from aiadmin_core.errors import BadRequest

from .durations import parse_duration

DEFAULT_PORT = 11434


class Settings(Struct, frozen=True, kw_only=True):
    """One process's settings. Durations are seconds."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    models: Path = Path()
    """The model store."""
    state: Path = Path()
    """Logs, chat history, what was learnt about this machine. Nothing in it is needed to start."""
    keep_alive_s: float = 300.0
    """How long an idle model stays loaded; `durations.FOREVER` never unloads."""
    load_timeout_s: float = 300.0
    """How long a model may take to load without a sign of life."""
    max_loaded: int = 3
    max_queue: int = 512
    """Requests waiting per model before new ones are refused with 503."""
    n_ctx: int | None = None
    n_parallel: int | None = None
    kv_cache_type: str | None = None
    exact: bool = False
    """Refuse models whose answers cannot be reproduced to the last bit."""
    in_process: bool = False
    """Open engines in the server's own process: for debugging, and for backends with nothing native."""
    ignore_unknown_fields: bool = False
    """Drop request fields that nobody knows, naming them in a header, instead of refusing them."""
    api_key: str = ""
    """What the command line shows a server that asks who it is."""
    keep_history: bool = True
    """Whether chats on the terminal keep what is typed."""
    allowed_hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    """Origins of web pages that may use the server, besides those of this machine; `*` stands for anything."""
    debug: bool = False

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


FIELDS: dict[str, str] = {
    "AIADMIN_HOST": "Address to serve on, or to reach the server at: `host`, `host:port` or `http://host:port`. "
    "Default `127.0.0.1:11434`.",
    "AIADMIN_MODELS": "Folder of the model store. Default `~/.aiadmin/models`.",
    "AIADMIN_STATE": "Folder for logs and history. Default `~/.aiadmin`.",
    "AIADMIN_KEEP_ALIVE": "How long an idle model stays loaded: seconds or a duration (`10m`, `1h30m`); negative is "
    "forever, 0 unloads at once. Default `5m`.",
    "AIADMIN_LOAD_TIMEOUT": "How long loading a model may take. Default `5m`.",
    "AIADMIN_MAX_LOADED_MODELS": "Most models loaded at once. Default 3.",
    "AIADMIN_MAX_QUEUE": "Most requests waiting for one model before new ones get 503. Default 512.",
    "AIADMIN_CONTEXT_LENGTH": "Tokens of context a model is opened with. Default: what the model was trained for, as "
    "far as the backend finds sensible.",
    "AIADMIN_NUM_PARALLEL": "Most sequences decoded together by one model. Default: the backend's.",
    "AIADMIN_KV_CACHE_TYPE": "How keys and values are stored, for llama.cpp: `q8_0`, `bf16`, `f16` or `f32`. Default: "
    "`q8_0` on processors (half the memory of `f16`, and answers that can be reproduced), `f16` on GPUs.",
    "AIADMIN_EXACT": "`1` serves only models whose answers can be reproduced to the last bit, and always does so. "
    "Default: where it costs nothing, else for requests with a `seed`.",
    "AIADMIN_IN_PROCESS": "`1` opens models in the server's own process instead of one each. For debugging.",
    "AIADMIN_UNKNOWN_FIELDS": "`refuse` (default) answers 400 to request fields nobody knows; `ignore` drops them and "
    "names them in the header `x-ignored-params`.",
    "AIADMIN_ORIGINS": "Origins of web pages that may use the server besides those of this machine, separated by "
    "commas; `*` stands for anything (`https://*.example.org`). Default: none.",
    "AIADMIN_PLUGINS": "Which plugins to load: `echo,mlx` only those, in this order; `-mlx` all but that one.",
    "AIADMIN_API_KEY": "The API key that `aiadmin run`, `ps`, `stop`, `show` and `doctor` send to the server, "
    "where a plugin of it asks for one.",
    "AIADMIN_NOHISTORY": "`1` keeps no history of what is typed in `aiadmin run`.",
    "AIADMIN_DEBUG": "`1` logs more and shows tracebacks.",
}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this environment.

    Raises `BadRequest` naming the variable that cannot be read.
    """
    source = os.environ if environ is None else environ
    values = {key.upper(): value.strip().strip("\"'").strip() for key, value in source.items()}

    def get(name: str) -> str:
        return values.get(name, "")

    home = Path(get("AIADMIN_STATE") or Path.home() / ".aiadmin").expanduser()
    host, port = _address(get("AIADMIN_HOST"))
    return Settings(
        host=host,
        port=port,
        models=Path(get("AIADMIN_MODELS") or home / "models").expanduser(),
        state=home,
        keep_alive_s=_duration("AIADMIN_KEEP_ALIVE", get("AIADMIN_KEEP_ALIVE") or "5m"),
        load_timeout_s=_duration("AIADMIN_LOAD_TIMEOUT", get("AIADMIN_LOAD_TIMEOUT") or "5m"),
        max_loaded=_count("AIADMIN_MAX_LOADED_MODELS", get("AIADMIN_MAX_LOADED_MODELS")) or 3,
        max_queue=_count("AIADMIN_MAX_QUEUE", get("AIADMIN_MAX_QUEUE")) or 512,
        n_ctx=_count("AIADMIN_CONTEXT_LENGTH", get("AIADMIN_CONTEXT_LENGTH")) or None,
        n_parallel=_count("AIADMIN_NUM_PARALLEL", get("AIADMIN_NUM_PARALLEL")) or None,
        kv_cache_type=get("AIADMIN_KV_CACHE_TYPE").lower() or None,
        exact=_switch(get("AIADMIN_EXACT")),
        in_process=_switch(get("AIADMIN_IN_PROCESS")),
        ignore_unknown_fields=_choice("AIADMIN_UNKNOWN_FIELDS", get("AIADMIN_UNKNOWN_FIELDS"), ("refuse", "ignore"))
        == "ignore",
        api_key=_key("AIADMIN_API_KEY", get("AIADMIN_API_KEY")),
        keep_history=not _switch(get("AIADMIN_NOHISTORY")),
        origins=tuple(origin.strip() for origin in get("AIADMIN_ORIGINS").split(",") if origin.strip()),
        debug=_switch(get("AIADMIN_DEBUG")),
    )


def _duration(name: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}.", hint="Unset it, or correct it.") from None


def _count(name: str, text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        raise BadRequest(f"{name} must be a whole number, not '{text}'.", hint="Unset it, or correct it.")
    return int(text)


def _choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    """One of `choices`, the first where nothing is said."""
    chosen = text.lower() or choices[0]
    if chosen not in choices:
        raise BadRequest(f"{name} is {' or '.join(choices)}, not '{text}'.", hint="Unset it, or correct it.")
    return chosen


def _key(name: str, text: str) -> str:
    """As it goes into a header. What it is, is not said in the error."""
    if not (text.isascii() and text.isprintable()):
        raise BadRequest(f"{name} holds characters that no API key has.", hint="Unset it, or correct it.")
    return text


def _switch(text: str) -> bool:
    return text.lower() not in ("", "0", "false", "no", "off")


def _address(text: str) -> tuple[str, int]:
    """Host and port of `[scheme://]host[:port][/...]`; a missing or bad port is the scheme's, else the default."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    rest = rest.partition("/")[0]
    default = {"http": 80, "https": 443}.get(scheme.lower(), DEFAULT_PORT)
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") > 1 and _is_ipv6(rest):
        host, port = rest, ""
    else:
        host, _, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
    valid = port.isdecimal() and int(port) < 65536
    return host or "127.0.0.1", int(port) if valid else default


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True
