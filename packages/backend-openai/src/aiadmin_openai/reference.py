"""What follows `aiadmin pull`: `openai:URL[,URL...][?OPTIONS][#MODEL]`, parsed. Pure; called by `source`."""

import re
from collections.abc import Mapping
from typing import Literal, cast
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from aiadmin_core.errors import BadRequest

from .remote import VARIABLE, RemoteModel

SCHEME = "openai"
FORM = "Write openai:http://HOST:PORT/v1#MODEL; several servers of one model are separated by commas."
OPTIONS = {
    "key": "the name of the environment variable that holds the API key",
    "connect_timeout": "seconds",
    "timeout": "longest silence, in seconds",
    "max_tokens_field": "max_tokens or max_completion_tokens",
    "unchecked": "do not ask the servers now",
    "confirmed": "the variable is meant, though its name is not that of an API key",
}
API_KEY = re.compile(r"(.*_)?(API_?KEY|API_?TOKEN|KEY|TOKEN)(_\w+)?")
NO_API_KEY = re.compile(r"SECRET|PRIVATE|PASSW|ACCESS_KEY|SESSION|CREDENTIAL|SIGNING|ENCRYPTION|SSH|GPG")
"""In names of variables: what is no key of an OpenAI-compatible server, and must not be sent to one by mistake."""


class Reference(Struct, frozen=True, kw_only=True):
    """A model as the user named it."""

    remote: RemoteModel
    """`model` is "" where the user named none."""
    unchecked: bool = False
    confirmed: bool = False

    def check_key(self) -> None:
        """Raise `BadRequest` where the variable's name is not that of an API key, and nobody confirmed that it is."""
        name = self.remote.key_variable
        if not name or self.confirmed or (API_KEY.fullmatch(name) and not NO_API_KEY.search(name)):
            return
        raise BadRequest(
            f"{name} does not look like the API key of a model server, and its value would be sent to one.",
            hint="If it is meant, add `&confirmed` behind it.",
        )


def parse(text: str) -> Reference:
    """Raises `BadRequest`, never repeating the value of an option: it may be a key in the wrong place."""
    rest, _, model = text.removeprefix(f"{SCHEME}:").partition("#")
    urls, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            known = "; ".join(f"{option}: {meaning}" for option, meaning in OPTIONS.items())
            raise BadRequest("An option of the reference is not known.", hint=f"There are {known}.")
    remote = RemoteModel(
        upstreams=tuple(dict.fromkeys(_base_url(url.strip()) for url in urls.split(","))),
        model=model.strip(),
        key_variable=_variable(options.get("key", "")),
        connect_timeout_s=_seconds(options, "connect_timeout", 5.0),
        read_timeout_s=_seconds(options, "timeout", 300.0),
        max_tokens_field=_max_tokens_field(options.get("max_tokens_field", "max_tokens")),
    )
    return Reference(remote=remote, unchecked="unchecked" in options, confirmed="confirmed" in options)


def origin(remote: RemoteModel) -> str:
    """Where the model comes from, in one spelling. How it is asked (key, timeouts) is no part of it."""
    return f"{SCHEME}:{','.join(remote.upstreams)}" + (f"#{remote.model}" if remote.model else "")


def local_name(model: str) -> str:
    """A name for the store made of an upstream's: the last part of `meta-llama/Llama-3.1-8B`, in lower case."""
    name, _, tag = model.rpartition("/")[2].lower().partition(":")
    words = [re.sub(r"[^a-z0-9_.-]+", "-", word).strip("-.")[:80] for word in (name, tag)]
    return ":".join(word for word in words if word)


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise BadRequest("The reference holds what is no http(s) URL.", hint=FORM)
    if "@" in parts.netloc:
        raise BadRequest(
            "The URL of an upstream must not hold a user name or password.",
            hint="Put the key into an environment variable and add `?key=VARIABLE`.",
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def _variable(name: str) -> str:
    if name and not VARIABLE.fullmatch(name):
        raise BadRequest(
            "`key` takes the name of an environment variable (capitals, digits, '_'), not the key itself.",
            hint="Put the key into a variable, such as EXAMPLE_KEY, and write `?key=EXAMPLE_KEY`.",
        )
    return name


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    text = options.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text) or float(text) == 0:
        raise BadRequest(f"`{name}` is a number of seconds.")
    return float(text)


def _max_tokens_field(name: str) -> Literal["max_tokens", "max_completion_tokens"]:
    if name not in ("max_tokens", "max_completion_tokens"):
        raise BadRequest(f"`max_tokens_field` is {OPTIONS['max_tokens_field']}.")
    return cast(Literal["max_tokens", "max_completion_tokens"], name)
