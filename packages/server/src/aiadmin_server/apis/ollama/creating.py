"""`POST /api/create`: a model is made of another one, or of files that were sent, and how far that is comes in lines.

The fields are today's; `modelfile` and `path` are those of 2024, when the server read the Modelfile.
"""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

from litestar import Request, Response, post
from litestar.response import Stream
from msgspec import UNSET, Struct, field
from msgspec.structs import replace

from aiadmin_core.errors import BadRequest, NotAllowed
from aiadmin_core.specs.content import Message, Role, TextPart

from ...http.openapi import NDJSON, described
from ...http.reading import read
from ...modelfile.bases import Workshop
from ...modelfile.creating import check, create
from ...modelfile.parameters import checked
from ...modelfile.parsing import decoded, parse
from ...modelfile.recipe import Recipe
from ...serving.dependencies import ResolverDependency, RouterDependency, SettingsDependency
from ...store.names import parse_name
from .named import Named, name_in
from .progress import SUCCESS, Lines, ProgressLine, Report, steps, told_in_lines
from .transfers import caller_of


class CreateMessage(Struct, frozen=True, kw_only=True):
    role: Role
    content: str


class CreateRequest(Named, frozen=True, kw_only=True):
    from_: str | None = field(name="from", default=None)
    """A model: of this server, or one that can be pulled."""
    files: dict[str, str] | None = None
    """Instead of it, digests of files that were sent to `/api/blobs`, by their names: a GGUF, or what a folder of
    safetensors holds."""
    template: str | None = None
    """In Jinja or in Go's language."""
    system: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, Any] | None = None
    messages: list[CreateMessage] | None = None
    quantize: str | None = None
    """`Q4_K_M`"""
    quantization: str | None = None
    """The same by its older name."""
    modelfile: str | None = None
    """The whole as a Modelfile's text, instead of the fields above."""
    path: str | None = None
    """Of a Modelfile on the server's machine: read only where AIADMIN_PRIVATE_SOURCES says so."""
    requires: str | None = None
    renderer: str | None = None
    """Kept for Ollama, no effect here; so is `parser`."""
    parser: str | None = None
    stream: bool | None = None
    """True where it is left out."""
    info: dict[str, Any] | None = None
    """No effect: the files say it."""

    adapters: dict[str, str] | None = None
    """Digests of LoRA adapters that were sent, by their names."""

    # Refused, unless empty.
    draft_files: dict[str, str] | None = None
    draft_quantize: str | None = None
    remote_host: str | None = None


@post(
    "/api/create",
    status_code=200,
    opt=described(CreateRequest, ProgressLine, event=ProgressLine, stream=NDJSON, closed=False),
)
async def create_model(
    request: Request[Any, Any, Any],
    resolver: ResolverDependency,
    router: RouterDependency,
    settings: SettingsDependency,
) -> Stream | Response[bytes]:
    """Make a model of another one, or of files that were sent. A model or alias of the name gives way."""
    data = (await read(request, CreateRequest)).data
    name = name_in(data)
    parse_name(name)
    recipe = await asyncio.to_thread(lambda: recipe_of(data, may_read=settings.private_sources))
    check(recipe)
    caller = caller_of(request, settings)
    folder = Path(data.path).parent if data.path else None

    def work(report: Report) -> None:
        shop = Workshop(store=resolver.store, plugins=resolver.plugins, progress=report, caller=caller, folder=folder)
        create(name, recipe, shop)

    async def lines() -> Lines:
        async with aclosing(steps(work, what="A create")) as found:
            async for step in found:
                yield ProgressLine(status=step.status, total=step.total or UNSET, completed=step.completed or UNSET)
        await router.refresh()
        yield ProgressLine(status=SUCCESS)

    return await told_in_lines(request, lines(), stream=data.stream is not False)


def recipe_of(data: CreateRequest, *, may_read: bool) -> Recipe:
    """What is asked for. Raises `BadRequest`, `NotAllowed`."""
    if data.path and not may_read:
        raise NotAllowed(
            "'path' is a file of the server's machine, which is not read for clients.",
            hint="Send the Modelfile itself in 'modelfile', or start the server with AIADMIN_PRIVATE_SOURCES=1.",
            param="path",
        )
    quantize = data.quantize or data.quantization or ""
    if data.modelfile or data.path:
        text = data.modelfile or _read(data.path or "")
        recipe = parse(text)
        return replace(recipe, quantize=quantize) if quantize else recipe
    for name, value in (("draft_files", data.draft_files), ("draft_quantize", data.draft_quantize)):
        if value:
            raise BadRequest(f"'{name}': no backend takes a draft model of its own.", param=name)
    if data.remote_host:
        raise BadRequest("'remote_host': models of other servers are pulled, not made.", param="remote_host")
    if not data.from_ and not data.files:
        raise BadRequest(
            "neither 'from' or 'files' was specified",
            hint="Name a model in 'from', or files that were sent in 'files'.",
            param="from",
        )
    about = {"requires": data.requires, "renderer": data.renderer, "parser": data.parser}
    licenses = [data.license] if isinstance(data.license, str) else data.license or []
    said = tuple(Message(role=one.role, content=(TextPart(one.content),)) for one in data.messages or ())
    return Recipe(
        bases=(data.from_,) if data.from_ else (),
        files=data.files or {},
        adapters=tuple(f"@{digest.removeprefix('@')}" for digest in (data.adapters or {}).values()),
        parameters=checked(data.parameters or {}),
        template=data.template or None,
        system=data.system or None,
        messages=said or None,
        licenses=tuple(text for text in licenses if text),
        about={name: text for name, text in about.items() if text},
        quantize=quantize,
    )


def _read(path: str) -> str:
    try:
        return decoded(Path(path).read_bytes())
    except OSError as error:
        raise BadRequest(f"error reading modelfile: {error.strerror}", param="path") from None
