"""Where a name lives: which registry has it, and what it is called there. Pure."""

from typing import NamedTuple

from aiadmin_core.errors import NotAllowed
from aiadmin_core.sources import Caller

from ...store.names import DEFAULT_HOST, ModelName, parse_name
from ..fetching import is_loopback


class Location(NamedTuple):
    """A name, and the registry that has it."""

    name: ModelName
    base_url: str
    """Scheme, host and port."""
    is_default: bool
    """It is the registry that the administrator chose for names without a host."""

    @property
    def repository(self) -> str:
        return f"{self.name.namespace}/{self.name.model}"

    @property
    def tag(self) -> str:
        return self.name.tag

    @property
    def host(self) -> str:
        """Host and port, in lower case."""
        return self.base_url.partition("://")[2].lower()

    @property
    def shown(self) -> str:
        """The whole name, registry first."""
        return f"{self.host}/{self.repository}:{self.tag}"


def locate(reference: str, default: str, caller: Caller = Caller()) -> Location:
    """Where `reference`, a model name, lives; `default` is the base URL for names without a host.

    Plain http is for this machine, for a registry that the administrator set up so, and for who says `insecure`.
    Raises `InvalidName`, `NotAllowed`.
    """
    name = parse_name(reference)
    if name.host.lower() == DEFAULT_HOST:
        return Location(name, default, is_default=True)
    scheme = reference.partition("://")[0].lower() if "://" in reference else ""
    if not scheme:
        scheme = "http" if caller.insecure or is_loopback(f"http://{name.host}") else "https"
    if scheme == "http" and not caller.insecure and not is_loopback(f"http://{name.host}"):
        raise NotAllowed(
            f"{name.host} would be spoken to over plain http, where anybody on the way can change what comes.",
            hint="Leave `http://` out, or say `--insecure` where you trust the network.",
            param="model",
        )
    return Location(name, f"{scheme}://{name.host}", is_default=False)
