"""The OpenAPI document of everything that is served, at `/schema/openapi.json`. Knows no API.

Litestar finds paths, parameters and texts. What handlers read and answer it cannot know, since they read their bodies
themselves: they say so in their `opt` (`described`), and the schemas come from those very Structs, by msgspec.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from litestar import Litestar, Request, Router
from litestar.enums import OpenAPIMediaType
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from msgspec import Struct

import aiadmin_server

REF = "#/components/schemas/{name}"
PATH = "/schema"
DOCUMENT_PATH = f"{PATH}/openapi.json"
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"

EnvelopeOf = Callable[[str], Any]
"""A path -> the type of the body that tells an error there, or None where nothing is known of it."""


class Described(Struct, frozen=True, kw_only=True):
    """What a handler reads and answers."""

    request: type[Any] | None = None
    response: Any = None
    event: Any = None
    """What each event of a stream is, where it can stream."""
    stream: str = SSE
    ranges: Mapping[str, tuple[float, float]] = {}
    """Least and greatest value of the request's fields, where the handler checks them and not the type."""
    closed: bool = True
    """Whether fields that the request's type does not have are refused, on a server that refuses any."""


def described(request: type[Any] | None = None, response: Any = None, **more: Any) -> dict[str, Any]:
    """A handler's `opt`; `more` are the fields of `Described`."""
    return {"described": Described(request=request, response=response, **more)}


class Document(OpenAPIRenderPlugin):
    """Litestar asks it for the page; it is made once, when somebody first wants it."""

    def __init__(self, envelope_of: EnvelopeOf, *, strict: bool) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._envelope_of = envelope_of
        self._strict = strict
        self._made = b""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if not self._made:
            operations = _operations(request.app)
            document = completed(openapi_schema, operations, self._envelope_of, strict=self._strict)
            self._made = msgspec.json.encode(document)
        return self._made


def openapi_config(envelope_of: EnvelopeOf, *, strict: bool) -> OpenAPIConfig:
    """For `Litestar`. `envelope_of` says how errors of a path are told; `strict`: whether this server refuses fields
    that nobody knows."""
    return OpenAPIConfig(
        title="AiAdmin",
        version=aiadmin_server.__version__,
        openapi_router=Router(PATH, route_handlers=[], before_request=_only_the_document, include_in_schema=False),
        render_plugins=[Document(envelope_of, strict=strict)],
        use_handler_docstrings=True,
    )


def _only_the_document(request: Request[Any, Any, Any]) -> None:
    """Litestar answers what is not there below its path with a page of HTML: here it is an error like any other's."""
    if request.scope["path"] != DOCUMENT_PATH:
        raise NotFoundException


Operation = tuple[str, str, Described]
"""Path as the document writes it, method in lower case, what its handler says of it."""


def _operations(app: Litestar) -> Iterator[Operation]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            found = handler.opt.get("described") if isinstance(handler, HTTPRouteHandler) else None
            if isinstance(found, Described):
                for method in handler.http_methods:
                    yield route.path_format, method.lower(), found


def completed(
    document: dict[str, Any], operations: Iterable[Operation], envelope_of: EnvelopeOf, *, strict: bool
) -> dict[str, Any]:
    """`document` with the bodies of `operations` in it. Pure."""
    operations = list(operations)
    envelopes = {path: envelope_of(path) for path, _, _ in operations}
    told = [kind for _, _, one in operations for kind in (one.request, one.response, one.event)]
    kinds = list(dict.fromkeys(kind for kind in (*told, *envelopes.values()) if kind is not None))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths, others = _apart(document, components)
    for path, method, one in operations:
        operation = paths[path][method]
        operation["responses"] = _responses(one, envelopes[path], schema_of)
        if one.request is not None:
            schema = schema_of[one.request]
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
            _set_ranges(components[_name(schema)], one.ranges)
    open_requests = [schema_of[one.request] for _, _, one in operations if one.request and not one.closed]
    closed_requests = [schema_of[one.request] for _, _, one in operations if strict and one.request and one.closed]
    for name in _reached(closed_requests, components) - _reached(open_requests, components):
        if "properties" in components[name]:
            components[name]["additionalProperties"] = False
    every = others | components
    kept = {name: every[name] for name in sorted(_reached(paths, every))}
    return document | {"paths": paths, "components": document.get("components", {}) | {"schemas": kept}}


def _responses(one: Described, envelope: Any, schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if one.response is not None:
        content["application/json"] = {"schema": schema_of[one.response]}
    if one.event is not None:
        content[one.stream] = {"schema": schema_of[one.event]}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if envelope is not None:
        content = {"application/json": {"schema": schema_of[envelope]}}
        responses["default"] = {"description": "What went wrong.", "content": content}
    return responses


def _set_ranges(component: dict[str, Any], ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (least, most) in ranges.items():
        field = component["properties"].get(name, {})
        for kind in (field, *field.get("anyOf", ())):
            if kind.get("type") in ("integer", "number"):
                kind |= {"minimum": least, "maximum": most}


def _apart(document: dict[str, Any], components: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The paths and schemas that Litestar made, its schemas renamed where one of `components` has the name."""
    found = document.get("components", {}).get("schemas", {})
    text = msgspec.json.encode([document["paths"], found]).decode()
    for name in found.keys() & components.keys():
        text = text.replace(f'"{REF.format(name=name)}"', f'"{REF.format(name=name + "_")}"')
    paths, schemas = msgspec.json.decode(text)
    return paths, {f"{name}_" if name in components else name: schema for name, schema in schemas.items()}


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _reached(start: Any, components: Mapping[str, Any]) -> set[str]:
    """Names of the components that `start` refers to, directly or through others."""
    reached: set[str] = set()
    left = [start]
    while left:
        value = left.pop()
        if isinstance(value, list | tuple):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
            name = _name(value) if isinstance(value.get("$ref"), str) else ""
            if name in components and name not in reached:
                reached.add(name)
                left.append(components[name])
    return reached
