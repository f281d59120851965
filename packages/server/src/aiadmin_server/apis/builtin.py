"""The APIs that come with the server, offered as a plugin offers its own: by reference, imported when it starts."""

from collections.abc import Mapping

from aiadmin_core.hookspecs import hookimpl


@hookimpl
def aiadmin_apis() -> Mapping[str, str]:
    """OpenAI's, Ollama's, LM Studio's list of models, ranking, our own for aliases, and what process managers and
    Prometheus ask."""
    return {
        "openai": "aiadmin_server.apis.openai.api:API",
        "ollama": "aiadmin_server.apis.ollama.api:API",
        "rerank": "aiadmin_server.apis.rerank.api:API",
        "aliases": "aiadmin_server.apis.aliases.api:API",
        "lmstudio": "aiadmin_server.apis.lmstudio:API",
        "health": "aiadmin_server.apis.health:API",
    }
