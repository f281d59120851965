"""`aiadmin show`: what a model is, and how its name leads to it. Needs no server; asks a running one what it knows."""

from typing import TYPE_CHECKING, Any

import click

from ._verb import json_option, verb

if TYPE_CHECKING:
    from aiadmin_core.specs.model import ModelFile

    from ..routing.resolver import Explanation
    from ..settings import Settings
    from ..store.store import StoredModel


@verb
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Show what a model is and how its name resolves.

    What only an engine knows (capabilities, device) is shown while the model is loaded.
    """
    from ..routing.resolver import Resolver
    from ..settings import load_settings
    from ..store.aliases import Aliases
    from ..store.store import ModelStore
    from ._output import facts, print_json
    from ._plugins import installed_plugins

    settings = load_settings()
    store = ModelStore(settings.models)
    resolver = Resolver(store, Aliases(store.aliases_path), installed_plugins(), settings)
    explanation = resolver.explain(name)
    if explanation.resolved is None:
        resolver.resolve(name)  # raises, with what to do about it
    model = store.find(explanation.resolved) if explanation.resolved else None
    loaded = _loaded(explanation.resolved, settings)
    if as_json:
        print_json({"resolution": explanation, "model": model, "loaded": loaded})
    else:
        facts(described(explanation, model, loaded))


def described(
    explanation: "Explanation", model: "StoredModel | None", loaded: dict[str, Any] | None
) -> list[tuple[str, str]]:
    """Labels and values, those without a value left out."""
    from ._output import count, size

    pairs = [("name", explanation.resolved or ""), ("resolved", "\n".join(explanation.steps))]
    pairs.append(("backend", explanation.backend or ""))
    if model is not None:
        info = model.info
        pairs += [
            ("origin", model.origin),
            ("digest", model.digest),
            ("format", model.format),
            ("architecture", info.architecture),
            ("parameters", count(info.n_params) or info.parameter_size),
            ("quantization", info.quantization),
            ("context", f"{info.n_ctx_train} tokens" if info.n_ctx_train else ""),
            ("template", "its own, kept in the store" if model.template else "the one in its files"),
            ("defaults", ", ".join(f"{key} {value}" for key, value in model.parameters.items())),
            ("system", model.system or ""),
            ("license", _first_lines(model.license or "")),
            ("size", size(model.size)),
            ("files", "\n".join(map(_file, model.files))),
        ]
    pairs.append(("loaded", _loaded_line(loaded)))
    return [(label, value) for label, value in pairs if value]


def _file(file: "ModelFile") -> str:
    from ._output import size

    return f"{file.role} {size(file.size)} {file.path}"


def _first_lines(text: str, n: int = 2) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[:n]) + ("\n..." if len(lines) > n else "")


def _loaded(resolved: str | None, settings: "Settings") -> dict[str, Any] | None:
    """What the running server says of the model; None where it is not loaded, or there is no server."""
    from ._client import ServerNotRunning, connect

    try:
        with connect(settings.url) as server:
            models = server.get("/api/ps")["models"]
    except ServerNotRunning:
        return None
    return next((model for model in models if model.get("name") == resolved), None)


def _loaded_line(loaded: dict[str, Any] | None) -> str:
    if loaded is None:
        return ""
    device = loaded["facts"].get("device", "cpu")
    line = f"by {loaded['backend']} on {device}, process {loaded['pid']}, context {loaded['context_length']} tokens"
    return "\n".join([line, *loaded["notes"]])
