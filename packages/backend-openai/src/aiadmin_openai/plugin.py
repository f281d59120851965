"""What this package offers: the backend that forwards, and the source that `aiadmin pull openai:...` reads."""

from collections.abc import Sequence

from aiadmin_core.backend import Backend
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.sources import Source

from .backend import OpenAIBackend
from .source import OpenAISource

aiadmin_api_version = 1


@hookimpl
def aiadmin_backends() -> Sequence[Backend]:
    return [OpenAIBackend()]


@hookimpl
def aiadmin_sources() -> Sequence[Source]:
    return [OpenAISource()]
