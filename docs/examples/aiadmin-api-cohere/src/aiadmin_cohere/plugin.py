"""What AiAdmin finds by the entry point. The API itself is imported by a server that starts."""

from collections.abc import Mapping

from aiadmin_core.hookspecs import hookimpl

aiadmin_api_version = 1


@hookimpl
def aiadmin_apis() -> Mapping[str, str]:
    return {"cohere": "aiadmin_cohere.api:API"}
