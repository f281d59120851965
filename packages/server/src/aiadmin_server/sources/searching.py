"""Looking for models where they are kept: Hugging Face's hub, and registries that list what they have. Used by
`aiadmin search`."""

from collections.abc import Sequence

import httpx
import msgspec
from msgspec import Struct

from aiadmin_core.errors import PullFailed

from ..setting_values import DEFAULT_REGISTRY
from .fetching import Fetcher, host_of, read_text, unreachable
from .registry.challenge import basic
from .registry.source import RegistryAccess

MOST = 20
TIMEOUT_S = 10.0


class Hit(Struct, frozen=True, kw_only=True):
    """A model that was found somewhere."""

    name: str
    """What `aiadmin pull` takes."""
    summary: str = ""


class _Repositories(Struct):
    repositories: list[str] | None = None


class _HubModel(Struct):
    id: str
    downloads: int = 0
    likes: int = 0


def search_hub(words: Sequence[str], *, endpoint: str | None = None, most: int = MOST) -> list[Hit]:
    """Repositories with GGUF files, the most fetched first. Raises `PullFailed` where the hub cannot be asked."""
    from .huggingface.hub import endpoint_of, is_offline  # 0.3 s

    if is_offline():
        raise PullFailed("HF_HUB_OFFLINE is set.", hint="Unset it.")
    query = {"search": " ".join(words), "filter": "gguf", "sort": "downloads", "limit": str(most)}
    url = str(httpx.URL(f"{endpoint_of(endpoint)}/api/models", params=query))
    try:
        found = msgspec.json.decode(_get(url, {}), type=list[_HubModel])
    except msgspec.DecodeError as error:
        raise PullFailed(f"{host_of(url)} answers with what is no list of models ({error}).", hint="") from None
    return [Hit(name=f"hf.co/{model.id}", summary=f"{model.downloads:,} downloads last month") for model in found]


def search_registry(words: Sequence[str], access: RegistryAccess, *, most: int = MOST) -> list[Hit]:
    """Repositories of the default registry, where that lists them: Ollama's does not. Raises `PullFailed`."""
    if access.default == DEFAULT_REGISTRY:
        return []
    host = access.default.partition("://")[2]
    credentials = access.credentials.get(host)
    headers = {"Authorization": basic(credentials)} if credentials else {}
    url = f"{access.default}/v2/_catalog?n=10000"
    try:
        names = msgspec.json.decode(_get(url, headers), type=_Repositories).repositories or []
    except msgspec.DecodeError as error:
        raise PullFailed(f"{host} does not list what it has ({error}).", hint="") from None
    hits = [name for name in names if all(word.lower() in name.lower() for word in words)]
    return [Hit(name=name.removeprefix("library/"), summary=f"in {host}") for name in hits[:most]]


def _get(url: str, headers: dict[str, str]) -> bytes:
    fetcher = Fetcher(insecure=url.startswith("http:"), stall_s=TIMEOUT_S)
    try:
        with fetcher.open("GET", url, headers) as response:
            if response.status_code != 200:
                raise PullFailed(f"{host_of(url)} answers with status {response.status_code}.", hint="")
            return read_text(response)
    except httpx.HTTPError as error:
        raise unreachable(error, url) from error
    finally:
        fetcher.close()
