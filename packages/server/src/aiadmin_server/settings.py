"""Settings of the server and the command line: what there is to set, and how it is read, once, at the edge. Where the
texts come from is `configuration`'s, what each of them stands for `setting_values`'.

`FIELDS` is the reference: `docs/reference/settings.md` is checked against it. Values are trimmed of spaces and
quotes, names are matched without regard to case (so `AiAdmin_HOST` works).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from aiadmin_core.specs.model import RopeScaling

from . import setting_values as read
from .setting_values import DEFAULT_PORT, DEFAULT_REGISTRY

_CONTEXTS = {"auto": None, "1": 1, "2": 2}
_SPECULATION = {"auto": None, "on": True, "off": False}


class Settings(Struct, frozen=True, kw_only=True):
    """One process's settings. Durations are seconds."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    scheme: str = "http"
    """"https" where clients reach the server through something that speaks TLS for it: it does not itself."""
    base_path: str = ""
    """"/ai" where clients reach the server below a path of something that stands before it; "" at its root."""
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
    rope_scaling: RopeScaling | None = None
    """How positions are scaled in contexts beyond the trained one."""
    n_parallel: int | None = None
    n_contexts: int | None = None
    n_replicas: int | None = None
    kv_cache_type: str | None = None
    exact: bool = False
    """Refuse models whose answers cannot be reproduced to the last bit."""
    speculation: bool | None = None
    """Guess tokens, and verify several in a step; None where that leaves every answer as it is."""
    prefix_memory_mib: int | None = None
    """What a model may keep of prompts it has read, beside its context; None leaves it to the backend."""
    prefix_disk_mib: int = 4096
    """The same in files, for all models together."""
    memory_mib: int = 0
    """Memory that all loaded models may take together; 0 is the machine's."""
    runner_memory_mib: int = 0
    """Most memory of its own that the process of one model may take; 0 sets no limit."""
    idle_connection_s: float = 600.0
    """How long a connection may rest between two requests: longer than clients' pools keep theirs (mostly 90 s, some
    300), so that they close first and no request is lost to a connection that has just been closed."""
    in_process: bool = False
    """Open engines in the server's own process: for debugging, and for backends with nothing native."""
    ignore_unknown_fields: bool = True
    """Leave out request fields that nobody knows, naming them in a header, instead of refusing them."""
    api_key: str = ""
    """What the command line shows a server that asks who it is."""
    keep_history: bool = True
    """Whether chats on the terminal keep what is typed."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may use the server, besides those of this machine; `*` stands for anything."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which clients may reach the server besides this machine's own and its addresses, in lower case."""
    private_sources: bool = False
    """Whether a pull that was asked for over HTTP may fetch from private addresses."""
    registry: str = DEFAULT_REGISTRY
    """Base URL of the registry that names without a host are pulled from and pushed to."""
    registry_credentials: Mapping[str, tuple[str, str]] = {}
    """User and password by the registry's host and port, in lower case."""
    catalogue: Path | None = None
    """The user's own entries of the catalogue; None: `catalogue.toml` in `state`."""
    log_format: Literal["text", "json"] = "text"
    """What the server's log is written as."""
    debug: bool = False

    @property
    def prefixes(self) -> Path:
        """Where models keep what they computed for the beginnings of prompts."""
        return self.state / "prefixes"

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        return f"{self.scheme}://{address}{self.base_path}"


FIELDS: dict[str, str] = {
    "AIADMIN_HOST": "Address to serve on, or to reach the server at: `host`, `host:port` or `http://host:port`; to "
    "reach it through a proxy also `https://host/path`. Default `127.0.0.1:11434`.",
    "AIADMIN_MODELS": "Folder of the model store. Default `~/.aiadmin/models`.",
    "AIADMIN_STATE": "Folder for logs and history. Default `~/.aiadmin`; without a home folder, one in that of the "
    "models.",
    "AIADMIN_KEEP_ALIVE": "How long an idle model stays loaded: seconds or a duration (`10m`, `1h30m`); negative is "
    "forever, 0 unloads at once. Default `5m`.",
    "AIADMIN_LOAD_TIMEOUT": "How long loading a model may take. Default `5m`.",
    "AIADMIN_MAX_LOADED_MODELS": "Most models loaded at once. Default 3.",
    "AIADMIN_MAX_QUEUE": "Most requests waiting for one model before new ones get 503. Default 512.",
    "AIADMIN_CONTEXT_LENGTH": "Tokens of context a model is opened with, as far as it was trained for them. Default: "
    "what it was trained for, but no more than 32,768 and than half of the free memory holds; `ps` says which.",
    "AIADMIN_ROPE_SCALING": "How positions are scaled where a context is longer than the trained one, for llama.cpp: "
    "`yarn` or `linear`. Default `none`: contexts end where the training did.",
    "AIADMIN_NUM_PARALLEL": "Most sequences decoded together by one model. Default: the backend's (16, for "
    "llama.cpp on a GPU 64).",
    "AIADMIN_CONTEXTS": "How many contexts of a model decode side by side, for llama.cpp: `1`, `2` or `auto` "
    "(default): what is faster, as measured when it is loaded, where memory is plenty and `AIADMIN_NUM_PARALLEL` is "
    "not set. Each has a cache of its own, and decodes as many sequences as one.",
    "AIADMIN_REPLICAS": "How many engines answer for each model together, each in a process of its own, with a cache "
    "of its own. A prompt goes to the one that has read its beginning before, unless that one is much busier. "
    "Default 1, at most 64.",
    "AIADMIN_KV_CACHE_TYPE": "How keys and values are stored, for llama.cpp: `bf16/f16` (keys/values), "
    "`q8_0`, `bf16`, `f16` or `f32`. Default: `f16` on GPUs, on processors what gives answers that can be reproduced: "
    "`bf16/f16` on x86, `q8_0` elsewhere. `q8_0` takes half the memory, and is slower.",
    "AIADMIN_EXACT": "`1` serves only models whose answers can be reproduced to the last bit, and always does so. "
    "Default: where it costs nothing, else for requests with a `seed`.",
    "AIADMIN_SPECULATION": "Whether tokens are guessed by what was said before, and several verified in a step, where "
    "measured time says that it pays (llama.cpp): `auto` (default) where it changes no bit of an answer, `on` also "
    "where it may, `off` never.",
    "AIADMIN_PREFIX_MEMORY": "MiB of memory in which a model keeps what it computed for the beginnings of prompts, so "
    "that they need not be read again. Default a sixteenth of the machine's, 512 at most (llama.cpp); 0 "
    "keeps none outside the context.",
    "AIADMIN_PREFIX_DISK": "MiB of files under `AIADMIN_STATE` in which the same outlives a restart, for all models "
    "together. Default 4096; 0 writes none.",
    "AIADMIN_MEMORY": "MiB of memory that loaded models may take together: idle ones make room, the others "
    "are refused with the numbers. Default: what the machine has.",
    "AIADMIN_RUNNER_MEMORY": "MiB of memory that the process of one model may take, weights that are mapped from a "
    "file not counted; what needs more fails, and nothing else does. Linux only. Default: no limit.",
    "AIADMIN_IDLE_TIMEOUT": "How long a client's connection may rest between two requests: more than its pool keeps "
    "it. Default `10m`.",
    "AIADMIN_IN_PROCESS": "`1` opens models in the server's own process instead of one each, without replicas. "
    "For debugging.",
    "AIADMIN_UNKNOWN_FIELDS": "`ignore` (default) leaves out request fields nobody knows and names them in the header "
    "`x-ignored-params`; `refuse` answers 400 to them.",
    "AIADMIN_ORIGINS": "Origins of web pages that may use the server besides those of this machine, separated by "
    "commas; `*` stands for anything (`https://*.example.org`). Default: none.",
    "AIADMIN_ALLOWED_HOSTS": "Names by which clients may reach the server besides this machine's own and its "
    "addresses, separated by commas: that of a proxy, say (`ai.example.org`). Default: none.",
    "AIADMIN_PRIVATE_SOURCES": "`1` lets pulls that are asked for over HTTP fetch from private addresses. The command "
    "line may do so anyway.",
    "AIADMIN_REGISTRY": "The registry that names without a host are pulled from and pushed to: `https://host`, or "
    "`http://localhost:5000` for one of this machine. Default `https://registry.ollama.ai`.",
    "AIADMIN_REGISTRY_CREDENTIALS": "Who you are to registries: `host=user:password`, several separated by "
    "spaces. Each is shown to its host alone.",
    "AIADMIN_CATALOGUE": "A TOML file with entries of your own for the catalogue. Default `catalogue.toml` in "
    "`AIADMIN_STATE`.",
    "AIADMIN_PLUGINS": "Which plugins to load: `echo,mlx` only those, in this order; `-mlx` all but that one.",
    "AIADMIN_API_KEY": "The API key that `aiadmin run`, `ps`, `stop`, `show` and `doctor` send to the server, "
    "where a plugin of it asks for one.",
    "AIADMIN_NOHISTORY": "`1` keeps no history of what is typed in `aiadmin run`.",
    "AIADMIN_LOG_FORMAT": "`text` (default), or `json`: an object a line, for what collects logs.",
    "AIADMIN_DEBUG": "`1` logs more and shows tracebacks.",
    "AIADMIN_CONFIG": "The settings file. Default: `aiadmin/config.toml` where the platform keeps settings; `aiadmin "
    "config path` says where that is.",
}


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this environment, as `configuration` finds them.

    Raises `BadRequest` naming the variable, or the line of the file, that cannot be read.
    """
    from .configuration import load_configuration

    return load_configuration(environ).settings()


def read_settings(values: Mapping[str, str]) -> Settings:
    """The settings that these texts, by the names of `FIELDS`, stand for. Pure but for the home folder.

    Raises `BadRequest` naming the one that cannot be read, in its message and as its `param`.
    """

    def get(name: str) -> str:
        return values.get(name, "")

    models, state = read.folders(get("AIADMIN_MODELS"), get("AIADMIN_STATE"))
    scheme, host, port, base_path = read.address(get("AIADMIN_HOST"))
    return Settings(
        host=host,
        port=port,
        scheme=scheme,
        base_path=base_path,
        models=models,
        state=state,
        keep_alive_s=read.duration("AIADMIN_KEEP_ALIVE", get("AIADMIN_KEEP_ALIVE") or "5m"),
        load_timeout_s=read.duration("AIADMIN_LOAD_TIMEOUT", get("AIADMIN_LOAD_TIMEOUT") or "5m"),
        max_loaded=read.count("AIADMIN_MAX_LOADED_MODELS", get("AIADMIN_MAX_LOADED_MODELS")) or 3,
        max_queue=read.count("AIADMIN_MAX_QUEUE", get("AIADMIN_MAX_QUEUE")) or 512,
        n_ctx=read.count("AIADMIN_CONTEXT_LENGTH", get("AIADMIN_CONTEXT_LENGTH")) or None,
        rope_scaling=read.rope_scaling("AIADMIN_ROPE_SCALING", get("AIADMIN_ROPE_SCALING")),
        n_parallel=read.count("AIADMIN_NUM_PARALLEL", get("AIADMIN_NUM_PARALLEL")) or None,
        n_contexts=_CONTEXTS[read.choice("AIADMIN_CONTEXTS", get("AIADMIN_CONTEXTS"), ("auto", "1", "2"))],
        n_replicas=read.replicas("AIADMIN_REPLICAS", get("AIADMIN_REPLICAS")) or None,
        kv_cache_type=get("AIADMIN_KV_CACHE_TYPE").lower() or None,
        exact=read.switch(get("AIADMIN_EXACT")),
        speculation=_SPECULATION[read.choice("AIADMIN_SPECULATION", get("AIADMIN_SPECULATION"), ("auto", "on", "off"))],
        prefix_memory_mib=read.count("AIADMIN_PREFIX_MEMORY", get("AIADMIN_PREFIX_MEMORY"))
        if get("AIADMIN_PREFIX_MEMORY")
        else None,
        prefix_disk_mib=read.count("AIADMIN_PREFIX_DISK", get("AIADMIN_PREFIX_DISK") or "4096"),
        memory_mib=read.count("AIADMIN_MEMORY", get("AIADMIN_MEMORY")),
        runner_memory_mib=read.runner_memory("AIADMIN_RUNNER_MEMORY", get("AIADMIN_RUNNER_MEMORY")),
        idle_connection_s=read.duration("AIADMIN_IDLE_TIMEOUT", get("AIADMIN_IDLE_TIMEOUT") or "10m"),
        in_process=read.switch(get("AIADMIN_IN_PROCESS")),
        ignore_unknown_fields=read.choice("AIADMIN_UNKNOWN_FIELDS", get("AIADMIN_UNKNOWN_FIELDS"), ("ignore", "refuse"))
        == "ignore",
        api_key=read.api_key("AIADMIN_API_KEY", get("AIADMIN_API_KEY")),
        keep_history=not read.switch(get("AIADMIN_NOHISTORY")),
        origins=tuple(origin.strip() for origin in get("AIADMIN_ORIGINS").split(",") if origin.strip()),
        allowed_hosts=read.host_names("AIADMIN_ALLOWED_HOSTS", get("AIADMIN_ALLOWED_HOSTS")),
        private_sources=read.switch(get("AIADMIN_PRIVATE_SOURCES")),
        registry=read.registry(get("AIADMIN_REGISTRY")),
        registry_credentials=read.credentials(get("AIADMIN_REGISTRY_CREDENTIALS")),
        catalogue=Path(get("AIADMIN_CATALOGUE")).expanduser() if get("AIADMIN_CATALOGUE") else None,
        log_format=read.choice("AIADMIN_LOG_FORMAT", get("AIADMIN_LOG_FORMAT"), ("text", "json")),
        debug=read.switch(get("AIADMIN_DEBUG")),
    )


SECRETS = frozenset({"AIADMIN_API_KEY", "AIADMIN_REGISTRY_CREDENTIALS"})
"""What is shown to nobody who did not ask for it, and written nowhere by us."""
_ATTRIBUTES = {
    "AIADMIN_CONTEXTS": "n_contexts",
    "AIADMIN_REPLICAS": "n_replicas",
    "AIADMIN_KEEP_ALIVE": "keep_alive_s",
    "AIADMIN_LOAD_TIMEOUT": "load_timeout_s",
    "AIADMIN_MAX_LOADED_MODELS": "max_loaded",
    "AIADMIN_CONTEXT_LENGTH": "n_ctx",
    "AIADMIN_NUM_PARALLEL": "n_parallel",
    "AIADMIN_PREFIX_MEMORY": "prefix_memory_mib",
    "AIADMIN_PREFIX_DISK": "prefix_disk_mib",
    "AIADMIN_MEMORY": "memory_mib",
    "AIADMIN_RUNNER_MEMORY": "runner_memory_mib",
    "AIADMIN_IDLE_TIMEOUT": "idle_connection_s",
}
"""Attributes of `Settings` that are not called like their variable."""


def value_of(settings: Settings, name: str, text: str) -> Any:
    """What a setting comes to, for people: as it was written, else its default. `text` is "" where nobody wrote any."""
    if text:
        return text
    match name:
        case "AIADMIN_HOST":
            return f"{settings.host}:{settings.port}"
        case "AIADMIN_UNKNOWN_FIELDS":
            return "ignore" if settings.ignore_unknown_fields else "refuse"
        case "AIADMIN_NOHISTORY":
            return not settings.keep_history
        case "AIADMIN_PLUGINS":
            return ""
    value = getattr(settings, _ATTRIBUTES.get(name, name.removeprefix("AIADMIN_").lower()))
    return f"{value:g}s" if isinstance(value, float) else str(value) if isinstance(value, Path) else value
