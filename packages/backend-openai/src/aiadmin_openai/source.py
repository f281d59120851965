"""`aiadmin pull openai:URL#MODEL`: what is fetched is a description of where the model is served."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from aiadmin_core.errors import AiAdminError, BadRequest, NotAllowed, NotAuthenticated, PullFailed
from aiadmin_core.sources import Caller, FetchedFile, FetchedModel, Progress

from . import reference as references
from .remote import FILE_NAME, RemoteModel, headers, key_of, write

MAX_NAMED = 20
"""Models named in an error."""


class OpenAISource:
    """Writes `upstream.json`, once the servers in it have answered."""

    scheme = references.SCHEME

    def claims(self, reference: str) -> bool:  # noqa: ARG002 - the protocol's
        """None without the scheme: a URL may be anything."""
        return False

    def origin(self, reference: str) -> str:
        return references.origin(references.parse(reference).remote)

    def fetch(
        self,
        reference: str,
        *,
        workdir: Path,
        progress: Callable[[Progress], None],
        expected_digest: str = "",  # noqa: ARG002 - the store verifies it; there are no weights to know it of
    ) -> FetchedModel:
        """Raises `BadRequest` for a reference that cannot be read, `PullFailed` where a server does not answer, does
        not know the model, or serves several and the reference names none."""
        asked = references.parse(reference)
        asked.check_key()
        return self._fetch(asked, asked.remote, workdir, progress)

    def fetch_for(
        self,
        caller: Caller,
        reference: str,
        *,
        workdir: Path,
        progress: Callable[[Progress], None],
        expected_digest: str = "",  # noqa: ARG002 - as in `fetch`
    ) -> FetchedModel:
        """As `fetch`, and raises `NotAllowed` for a variable of this machine and for addresses that are not public, now
        or when it is served."""
        asked = references.parse(reference)
        if asked.remote.key_variable:
            raise NotAllowed(
                "Over HTTP a reference must not name an environment variable of the server's machine.",
                hint="Pull the model on its command line.",
                param="model",
            )
        if caller.private_addresses:
            return self._fetch(asked, asked.remote, workdir, progress)
        for url in asked.remote.upstreams:
            refuse_private(url)
        return self._fetch(asked, msgspec.structs.replace(asked.remote, public_only=True), workdir, progress)

    def _fetch(
        self,
        asked: references.Reference,
        remote: RemoteModel,
        workdir: Path,
        progress: Callable[[Progress], None],
    ) -> FetchedModel:
        if not asked.unchecked:
            progress(Progress(status="asking the upstream"))
            remote = _checked(remote)
        elif not remote.model:
            raise BadRequest("Without asking the server, the reference has to name the model.", hint=references.FORM)
        path = workdir / FILE_NAME
        write(remote, path)
        return FetchedModel(
            files=(FetchedFile(path=path, role="config", name=FILE_NAME),),
            format="remote",
            suggested_name=references.local_name(remote.model),
        )


def refuse_private(url: str) -> None:
    """Raise `NotAllowed` where the host of `url` has an address that is not public, `PullFailed` where it has none."""
    from aiadmin_core.public import (  # httpx is slow to import, and this module is imported by every command
        is_public,
        look_up,
    )

    host = urlsplit(url).hostname or ""
    try:
        found = look_up(host)
    except (OSError, UnicodeError):
        raise PullFailed(f"The host '{host}' has no address.", hint="Check its name.") from None
    if not all(map(is_public, found)):
        raise NotAllowed(
            f"The host '{host}' has an address that is not public.",
            hint="Pull the model on the command line of the server's machine, or set AIADMIN_PRIVATE_SOURCES=1.",
            param="model",
        )


def _checked(remote: RemoteModel) -> RemoteModel:
    """With its model filled in, if every upstream answers and serves it."""
    from . import listing  # httpx is slow to import, and this module is imported by every command

    try:
        sent = headers(key_of(remote))
    except NotAuthenticated as error:
        raise _failed(error.message) from None
    for url in remote.upstreams:
        found = listing.ask(url, headers=sent, timeout_s=remote.connect_timeout_s, public_only=remote.public_only)
        if found.error:
            raise _failed(f"{found.host} does not answer: {found.error}.")
        names = [entry.id for entry in found.models]
        if not remote.model:
            if len(names) != 1:
                raise PullFailed(f"{found.host} {_serves(names)}.", hint="Name the model: add `#MODEL`.")
            remote = msgspec.structs.replace(remote, model=names[0])
        elif (
            found.lists
            and not any(entry.is_called(remote.model) for entry in found.models)
            and not listing.knows(
                url,
                remote.model,
                headers=sent,
                timeout_s=remote.connect_timeout_s,
                public_only=remote.public_only,
            )
        ):
            raise _failed(f"{found.host} does not know '{remote.model}'; it {_serves(names)}.")
    return remote


def _failed(message: str) -> AiAdminError:
    return PullFailed(message, hint="Correct it, or add `?unchecked` to go on without asking.")


def _serves(names: list[str]) -> str:
    if not names:
        return "names no model that it serves"
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"serves {', '.join(names[:MAX_NAMED])}{more}"
