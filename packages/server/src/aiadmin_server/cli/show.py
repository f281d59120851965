"""`aiadmin show`: what a model is, and how its name leads to it. Needs no server; asks a running one what it knows."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._names import MODEL
from ._verb import json_option, verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiadmin_core.backend import Backend, MemoryEstimate
    from aiadmin_core.specs.model import ModelFile

    from ..routing.resolver import Explanation
    from ..settings import Settings
    from ..store.store import StoredModel


@verb
@click.argument("name", type=MODEL)
@json_option
@click.option("--modelfile", "part", flag_value="modelfile", help="Only a Modelfile that makes the same again.")
@click.option("--template", "part", flag_value="template", help="Only its chat template.")
@click.option("--parameters", "part", flag_value="parameters", help="Only what a request leaves open.")
@click.option("--system", "part", flag_value="system", help="Only its system message.")
@click.option("--license", "part", flag_value="license", help="Only its license.")
def command(name: str, as_json: bool, part: str | None) -> None:
    """Show what a model is and how its name resolves.

    What only an engine knows (capabilities, device) is shown while the model is loaded.
    """
    from aiadmin_core.errors import ModelNotFound

    from ..routing.estimate import estimate_of
    from ..routing.resolver import Resolver
    from ..settings import load_settings
    from ..store.aliases import Aliases
    from ..store.store import ModelStore
    from ._output import facts, print_json, remark
    from ._plugins import installed_plugins

    settings = load_settings()
    store = ModelStore(settings.models)
    plugins = installed_plugins()
    resolver = Resolver(store, Aliases(store.aliases_path), plugins, settings)
    explanation = resolver.explain(name)
    model = store.find(explanation.resolved)
    if part is not None:
        if model is None:
            raise ModelNotFound(name, hint="It is not in the store: what there is to show, its backend knows.")
        click.echo(part_of(part, model, explanation, plugins.backends()), nl=False)
        return
    remote = remote_facts(model, plugins.backends()) if model and model.format == "remote" else {}
    memory = estimate_of(name, resolver, plugins)
    refusal = resolver.refusal(name)
    loaded = _loaded(explanation.resolved, settings)
    if as_json:
        record = {"resolution": explanation, "model": model, "remote": remote, "memory": memory, "loaded": loaded}
        print_json(record | {"served": refusal is None})
    else:
        facts(described(explanation, model, remote, memory, loaded))
        if refusal is not None:
            remark(str(refusal))


def part_of(part: str, model: "StoredModel", explanation: "Explanation", backends: "Mapping[str, Backend]") -> str:
    """One part of what is known of `model`, whole and as it is, with a line end behind it."""
    from ..modelfile.writing import parameter_lines, recipe_of, write

    match part:
        case "modelfile":
            return write(recipe_of(model, explanation.defaults))
        case "parameters":
            defaults = {key: default.value for key, default in explanation.defaults.items() if key != "keep_alive"}
            text = "\n".join(parameter_lines(defaults))
        case "template":
            text = model.template or _template_in_file(model, backends)
        case "system":
            text = model.system_message or ""
        case _:
            text = model.license or ""
    return text if not text or text.endswith("\n") else text + "\n"


def _template_in_file(model: "StoredModel", backends: "Mapping[str, Backend]") -> str:
    for backend in backends.values():
        for file in model.files[:1]:
            with contextlib.suppress(Exception):  # a broken file, or a plugin that may raise anything
                if (info := backend.inspect(Path(file.path))) is not None and info.chat_template:
                    return info.chat_template
    return ""


def remote_facts(model: "StoredModel", backends: "Mapping[str, Backend]") -> "Mapping[str, Any]":
    """Where a model without weights is served, in the words of the backend that knows its description."""
    for backend in backends.values():
        for file in model.files:
            info = None
            with contextlib.suppress(Exception):  # a broken description, or a plugin that may raise anything
                info = backend.inspect(Path(file.path))
            if info is not None and info.format == "remote":
                return info.metadata or {}
    return {}


def described(
    explanation: "Explanation",
    model: "StoredModel | None",
    remote: "Mapping[str, Any]",
    memory: "MemoryEstimate | None",
    loaded: dict[str, Any] | None,
) -> list[tuple[str, str]]:
    """Labels and values, those without a value left out."""
    from ..routing.estimate import sentence
    from ._output import count, size

    pairs = [("name", explanation.resolved), ("resolved", "\n".join(explanation.steps))]
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
            ("context", _context(info.n_ctx_train, explanation)),
            *((label.replace("_", " "), _lines(value)) for label, value in remote.items()),
            ("template", _template(model)),
            ("system", model.system_message or ""),
            ("license", _first_lines(model.license or "")),
            ("size", size(model.size)),
            ("files", "\n".join(map(_file, model.files))),
        ]
    defaults = [f"{key} {value} ({where})" for key, (value, where) in explanation.defaults.items()]
    pairs.append(("memory", sentence(memory) if memory is not None else ""))
    pairs.append(("defaults", "\n".join(defaults)))
    pairs.append(("loaded", _loaded_line(loaded)))
    return [(label, value) for label, value in pairs if value]


def _context(trained: int, explanation: "Explanation") -> str:
    """What the model was trained with, and what becomes of a default beyond that."""
    defaults = {name: default.value for name, default in explanation.defaults.items()}
    asked, scaling = defaults.get("num_ctx"), defaults.get("rope_scaling")
    text = f"{trained} tokens" if trained else ""
    if trained and isinstance(asked, int) and asked > trained:
        how = "it ends there" if scaling in (None, "none") else f"positions are scaled ({scaling})"
        text += f", trained; {asked} are asked for: {how}"
    return text


def _lines(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _template(model: "StoredModel") -> str:
    if model.format == "remote":
        return "the one of the server it is on"
    if model.template:
        return "its own, kept in the store"
    return "the one in its files" if model.format in {"gguf", "safetensors"} else ""


def _file(file: "ModelFile") -> str:
    from ._output import size

    return f"{file.role} {size(file.size)} {file.path}"


def _first_lines(text: str, n: int = 2) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[:n]) + ("\n..." if len(lines) > n else "")


def _loaded(resolved: str, settings: "Settings") -> dict[str, Any] | None:
    """What the running server says of the model; None where it is not loaded, or there is no server."""
    from ._client import ServerNotRunning, ServerRefused, connect

    try:
        with connect(settings.url, settings.api_key) as server:
            models = server.get("/api/ps")["models"]
    except (ServerNotRunning, ServerRefused):  # one that wants to know who asks, say
        return None
    return next((model for model in models if model.get("name") == resolved), None)


def _loaded_line(loaded: dict[str, Any] | None) -> str:
    if loaded is None:
        return ""
    device = loaded["facts"].get("device", "cpu")
    line = f"by {loaded['backend']} on {device}, process {loaded['pid']}, context {loaded['context_length']} tokens"
    return "\n".join([line, *loaded["notes"]])
