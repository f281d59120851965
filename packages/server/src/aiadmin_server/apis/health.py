"""`/`, `/health` and `/metrics`: what people, process managers and Prometheus ask."""

from typing import Any

from litestar import Request, Response, get, route
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import SkipValidation

from ..serving.metrics import Metrics
from ..serving.ports import RouterDependency


@route("/", http_method=["GET", "HEAD"], media_type=MediaType.TEXT)
async def root() -> str:
    """Say that somebody is there."""
    return "AiAdmin is running"


@route("/health", http_method=["GET", "HEAD"])
async def health(router: RouterDependency) -> Response[dict[str, Any]]:
    """200 while requests can be served, 503 with what is wrong otherwise."""
    problems = list(router.health())
    status = "unhealthy" if problems else "ok"
    return Response({"status": status, "problems": problems}, status_code=503 if problems else 200)


@get("/metrics", media_type=MediaType.TEXT)
async def metrics(
    request: Request[Any, Any, Any], metrics: NamedDependency[SkipValidation[Metrics]]
) -> Response[bytes]:
    """The counters, in Prometheus' text format."""
    body, content_type = metrics.exposition(request.headers.get("accept", ""))
    return Response(body, media_type=content_type.removesuffix("; charset=utf-8"))  # Litestar adds it
