"""What a model will take of the machine's memory, told before it is loaded. Asked by the fleet, `pull` and `show`."""

import logging

from aiadmin_core.backend import Backend, EstimatesMemory, MemoryEstimate
from aiadmin_core.errors import AiAdminError
from aiadmin_core.plugins import Plugins
from aiadmin_core.specs.model import ModelSpec

from ..settings import Settings
from .choice import choose_backend
from .reasons import size
from .resolver import Resolver, engine_options
from .target import Target

logger = logging.getLogger(__name__)


def estimate(backend: Backend, target: Target) -> MemoryEstimate:
    """Of all its engines, as `backend` reads it in the headers of its files; the size of the files where it cannot."""
    spec, options = target.spec, target.options
    try:
        found = _told(backend, target)
    except AiAdminError as error:
        logger.warning("The backend '%s' cannot say what %s takes: %s", backend.name, spec.name, error)
        found = None
    found = found or MemoryEstimate(weights_bytes=sum(file.size for file in spec.files))
    return found.times(options.n_replicas or 1)


def _told(backend: Backend, target: Target) -> MemoryEstimate | None:
    """What the backend reads in the headers of the files. Raises `AiAdminError` where it cannot; None where it does not
    tell, or breaks on them, which is written to the log."""
    if not isinstance(backend, EstimatesMemory):
        return None
    try:
        return backend.estimate_memory(target.spec, target.options)
    except AiAdminError:
        raise
    except Exception:
        logger.exception("The backend '%s' cannot say what %s takes", backend.name, target.spec.name)
        return None


def estimate_of(name: str, resolver: Resolver, plugins: Plugins) -> MemoryEstimate | None:
    """The same for a name; None where it leads to nothing that is served from this machine's memory."""
    try:
        target = resolver.resolve(name)
        offers = plugins.offers()
        backend = offers[choose_backend(target, offers)][1]
    except AiAdminError:
        return None
    return None if getattr(backend, "in_process", False) else estimate(backend, target)


def estimate_spec(spec: ModelSpec, plugins: Plugins, settings: Settings) -> MemoryEstimate | None:
    """Of a model that is not here yet, as far as `spec` describes it: by the backend that would serve it, None where it
    does not tell, or not all (a GPU takes the weights). Raises `AiAdminError` for a header that is not whole."""
    options = engine_options(spec.parameters, settings)
    target = Target(requested=spec.name, resolved=spec.name, spec=spec, options=options)
    offers = plugins.offers()
    backend = offers[choose_backend(target, offers)][1]
    found = _told(backend, target)
    return found.times(options.n_replicas or 1) if found and found.is_certain else None


def sentence(found: MemoryEstimate) -> str:
    """`430 MB: 98 MB of weights, 188 MB of cache (8192 tokens of context), 144 MB besides`."""
    context = f" ({found.n_ctx} tokens of context)" if found.n_ctx else ""
    parts = [
        f"{size(found.weights_bytes)} of weights" if found.weights_bytes else "",
        f"{size(found.cache_bytes)} of cache{context}" if found.cache_bytes else "",
        f"{size(found.compute_bytes)} besides" if found.compute_bytes else "",
    ]
    return f"{size(found.n_bytes)}: {', '.join(filter(None, parts))}"
