"""`/health` and `/metrics`: what process managers and Prometheus ask."""

from typing import Any, Literal

from litestar import Request, Response, get, route
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import SkipValidation
from msgspec import Struct

from ..http.openapi import described
from ..serving.dependencies import RouterDependency
from ..serving.metrics import Metrics
from . import Api, tell_plainly


class Health(Struct, frozen=True, kw_only=True):
    status: Literal["ok", "unhealthy"]
    problems: list[str]
    """A sentence each."""


@route("/health", http_method=["GET", "HEAD"], opt=described(response=Health))
async def health(router: RouterDependency) -> Response[Health]:
    """200 while requests can be served, 503 with what is wrong otherwise."""
    problems = list(router.health())
    found = Health(status="unhealthy" if problems else "ok", problems=problems)
    return Response(found, status_code=503 if problems else 200)


@get("/metrics", media_type=MediaType.TEXT)
async def metrics(
    request: Request[Any, Any, Any], metrics: NamedDependency[SkipValidation[Metrics]]
) -> Response[bytes]:
    """The counters, in Prometheus' text format."""
    body, content_type = metrics.exposition(request.headers.get("accept", ""))
    return Response(body, media_type=content_type.removesuffix("; charset=utf-8"))  # Litestar adds it


API = Api(name="health", title="", paths=("/health", "/metrics"), routes=(health, metrics), envelope=tell_plainly)
