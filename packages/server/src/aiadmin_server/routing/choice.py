"""Which backend serves a model, and which of its names share one engine. Pure; asked by the router."""

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import asdict, replace

from aiadmin_core.backend import Backend
from aiadmin_core.context import chosen_scaling, context_length
from aiadmin_core.errors import NoBackend
from aiadmin_core.plugins import Plugin
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from .target import Target

Offers = Mapping[str, tuple[str, Backend]]
"""Backend name -> (plugin, backend)."""

BACKEND_PACKAGES = {name: f"aiadmin-backend-{name}" for name in ("llamacpp", "mlx", "openai")}
"""What brings each of our own backends; others are in packages of any name."""
PACKAGES = {
    "gguf": BACKEND_PACKAGES["llamacpp"],
    "safetensors": BACKEND_PACKAGES["mlx"],
    "remote": BACKEND_PACKAGES["openai"],
}
"""What to install for a format nobody here serves: a suggestion only; any installed backend may claim it."""

logger = logging.getLogger(__name__)
_OPEN = EngineOptions()
_ENCODER = msgspec.json.Encoder(order="sorted")


def choose_backend(target: Target, offers: Offers, broken: Sequence[Plugin] = ()) -> str:
    """The backend the target asks for, or the one that suits its model best.

    Raises `NoBackend` with the package to install.
    """
    model = target.spec
    if target.backend is not None:
        if target.backend not in offers:
            package = BACKEND_PACKAGES.get(target.backend)
            unknown = f"Install the package that brings it, or name one of those here: {', '.join(offers) or 'none'}."
            hint = _remedy(package, broken) if package else unknown
            raise NoBackend(f"The backend '{target.backend}' is not installed.", hint=hint)
        if _suitability(offers[target.backend][1], model) is None:
            raise NoBackend(
                f"The backend '{target.backend}' cannot serve {target.resolved} ({model.format}).",
                hint="Leave the backend out, and the most suitable one serves it.",
            )
        return target.backend
    scores = {name: _suitability(backend, model) for name, (_, backend) in offers.items()}
    fitting = {name: score for name, score in scores.items() if score is not None}
    if not fitting:
        wanted = PACKAGES.get(model.format)
        hint = _remedy(wanted, broken) if wanted else "Install a backend for it; `aiadmin doctor` lists those here."
        raise NoBackend(f"No installed backend can serve {target.resolved} ({model.format}).", hint=hint)
    return max(fitting, key=lambda name: fitting[name])  # the first loaded of equals


def engine_key(target: Target, backend: str) -> str:
    """Names with the same key share an engine: the same files, backend and options, and the same of what the engine
    takes from the model's manifest (what only requests take from it may differ).

    The same files are those at the same place: a name whose file is used where it lies shares nothing with another
    that has a copy of its own in the store, which stays whole whatever becomes of the first.
    """
    model = target.spec
    manifest = (model.template, model.system, model.messages, model.parameters.get("stop"))
    options = _ENCODER.encode((_places(target), manifest, _opened_with(target)))
    return f"{backend}/{model.digest or model.name}/{sha256(options).hexdigest()[:16]}"


def same_files(first: Target, second: Target) -> bool:
    """Whether they are one model, however it is opened."""
    if not second.spec.digest:
        return first.resolved == second.resolved
    return first.spec.digest == second.spec.digest and _own_places(first) == _own_places(second)


def with_options(target: Target, options: EngineOptions | None) -> Target:
    """`target`, opened as a request asks: what it leaves open stays as it was."""
    if options is None:
        return target
    asked = {name: value for name, value in asdict(options).items() if value != getattr(_OPEN, name)}
    return replace(target, options=replace(target.options, **asked)) if asked else target


def _opened_with(target: Target) -> EngineOptions:
    """The options without what a backend makes nothing of: contexts beyond the trained one are all that one, and two
    requests for them need not open the model twice."""
    options = target.options
    if not options.n_ctx:
        return options
    scales = chosen_scaling(options) != ""
    return replace(options, n_ctx=context_length(options, trained=target.n_ctx_train, unasked=0, scales=scales))


def _places(target: Target) -> list[tuple[str, str]]:
    return [(file.role, file.path) for file in target.spec.files]


def _own_places(target: Target) -> list[tuple[str, str]]:
    return [(role, path) for role, path in _places(target) if role != "draft"]


def _suitability(backend: Backend, model: ModelSpec) -> int | None:
    try:
        suitability = backend.suitability(model)
        if not isinstance(suitability, int | None):
            raise TypeError(f"{suitability!r} is neither a number nor None")
        return suitability
    except Exception:
        logger.exception("The backend '%s' cannot say whether it serves %s", backend.name, model.name)
        return None


def _remedy(package: str, broken: Sequence[Plugin]) -> str:
    for plugin in broken:
        if plugin.distribution == package or package.endswith(f"-{plugin.name}"):
            return f"{package} is installed, but its plugin {plugin.trouble}. `aiadmin doctor` says more."
    return f"Run `pip install {package}`, and start the server again."
