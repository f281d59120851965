"""What an API is: its paths, its words for what core has names for, its envelope for errors, its routes.

Every API, ours or a plugin's, comes through the hook `aiadmin_apis` and is loaded by `loading` when the server starts;
one package (or module) for each stands beside this file. Nothing here needs the web framework.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_type_hints

from msgspec import Struct

from ..http.problem import Problem


class Api(Struct, frozen=True, kw_only=True):
    """One API that the server speaks."""

    name: str
    """Short, for the log and for commands: `openai`."""
    title: str
    """For people, before "is under /v1": `OpenAI's API`; "" where nobody would set a base URL."""
    paths: tuple[str, ...]
    """Prefixes of the paths that are its own: `/v1` has `/v1/models`, and not `/v10`. Of two APIs the one with the
    longer prefix has a path. The first is where people are sent to."""
    routes: Sequence[Any]
    """Litestar route handlers."""
    envelope: Callable[[Problem], Any]
    """The body that tells an error: a Struct or plain data."""
    names: Mapping[str, str] = {}
    """What it calls a neutral field (of `Call`, `GenerateRequest`, `SamplingParams`), where it does not call it the
    same: {"max_tokens": "maxOutputTokens", "constraint": "responseSchema"}."""
    absent: tuple[str, ...] = ()
    """Prefixes of paths that the API has elsewhere and not here: what a 404 then says is more than that."""


def tell_plainly(problem: Problem) -> dict[str, str]:
    """The envelope of paths that belong to no API."""
    return {"error": problem.message}


FOREIGN = {"/v1/messages": "Anthropic's", "/v1/complete": "Anthropic's", "/v1beta": "Google's"}
"""Prefixes of paths that clients of other APIs ask for, and whose they are: none of ours has them, a plugin may."""

PLAIN = Api(name="plain", title="", paths=(), routes=(), envelope=tell_plainly)


class Apis:
    """The APIs of one server: whose a path is. Pure."""

    def __init__(self, apis: Iterable[Api]) -> None:
        self.all = tuple(apis)
        owners = [(prefix, api) for api in self.all for prefix in api.paths]
        self._owners = sorted(owners, key=lambda owner: -len(owner[0]))

    def at(self, path: str) -> Api:
        """The API that `path` belongs to: the longest prefix wins. Its errors are told in its envelope."""
        return next((api for prefix, api in self._owners if is_below(path, prefix)), PLAIN)

    def envelope_at(self, path: str) -> Any:
        """The type of the body that tells an error at `path`: what `envelope` is annotated to return."""
        return get_type_hints(self.at(path).envelope).get("return")

    def nothing_at(self, path: str, *, host: str) -> str:
        """What a 404 says of a path that has no route, behind the path itself: whose it is, or what may be meant."""
        api = self.at(path)
        titled = [(other.paths[0], other) for other in self.all if other.title and other.paths]
        places = ", ".join(f"{other.title} is under {prefix}" for prefix, other in titled)
        for prefix, owner in FOREIGN.items():
            if is_below(path, prefix) and not any(claimed == prefix for claimed, _ in self._owners):
                return f"This endpoint is {owner}, and not served here{places and f': {places}'}."
        if any(is_below(path, absent) for absent in api.absent):
            return f"AiAdmin does not serve this endpoint{'' if api.title or not places else f': {places}'}."
        for prefix, other in titled:
            if is_below(path, prefix * 2):
                return f"The address has {prefix} twice: set the base URL to http://{host}{prefix}"
            if api is PLAIN and _knows(other, prefix + path):
                return f"{other.title} is under {prefix}: set the base URL to http://{host}{prefix}"
        near = get_close_matches(path, [one for other in self.all for one in _served(other)], n=1, cutoff=0.8)
        return f"Did you mean {near[0]}?" if near else f"Check the address: {places or 'nothing is served here'}."


def is_below(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or below it."""
    return path == prefix or path.startswith(prefix + "/")


def _served(api: Api) -> Iterator[str]:
    """Its paths as they are routed, each as far as its first parameter."""
    for handler in api.routes:
        for route in getattr(handler, "paths", ()):
            yield route.partition("/{")[0].rstrip("/")


def _knows(api: Api, path: str) -> bool:
    """Whether the API has this path, here or elsewhere."""
    return any(is_below(path, known) for known in (*_served(api), *api.absent) if known)
