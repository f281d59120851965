"""From the name in a request to the model behind it. Used by the router for every request, and by `aiadmin show`.

The order is fixed:

1. a model in the store, or one that a backend offers by itself, of exactly this name (case aside; no tag is `latest`)
2. an alias, whose target is looked up the same way
3. `<backend>/<name>`: the rest, served by that backend
4. the catalogue: not here yet, `aiadmin pull` fetches it
5. the default registry: cannot be asked yet, so the name is not found, and the nearest one is suggested
"""

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.backend import Backend, OffersModels
from aiadmin_core.errors import BadRequest, InvalidName, ModelNotFound, NoBackend
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import CatalogueEntry
from aiadmin_core.specs.model import EngineOptions, ModelSpec, RopeScaling

from ..catalogue import catalogue, find_entry
from ..durations import parse_duration
from ..settings import Settings
from ..store.aliases import Alias, Aliases, find_alias
from ..store.defaults import Default
from ..store.names import same_name, short_name
from ..store.store import ModelStore, StoredModel
from .choice import Offers, choose_backend
from .target import Target

MAX_NAME = 600
"""Characters of a name; whatever else came in its place is not compared any further."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Explanation(Struct, frozen=True, kw_only=True):
    """How a name was resolved."""

    requested: str
    resolved: str
    """The model behind it."""
    steps: tuple[str, ...]
    """What was looked at, in order, one sentence each."""
    backend: str | None = None
    """The backend an alias or a prefix asks for."""
    defaults: dict[str, Default] = {}
    """What a request leaves open, by name: sampling, `num_ctx`, `keep_alive`."""


class Resolver:
    """Looks names up. Reads the disk at each call, so that it sees what another process has just pulled."""

    def __init__(self, store: ModelStore, aliases: Aliases, plugins: Plugins, settings: Settings) -> None:
        self.store = store
        self.aliases = aliases
        self.plugins = plugins
        self.settings = settings
        self._asked: Offers | None = None

    def resolve(self, name: str) -> Target:
        """The model behind `name`, and how it is to be served.

        Raises `ModelNotFound` with what to do about it, `BadRequest` for aliases that lead in a circle, `StoreError`
        for a model whose files are not what they should be.
        """
        target, found = self._target(name)
        return replace(target, doubts=self.store.doubts(target.spec)) if isinstance(found, StoredModel) else target

    def find(self, name: str) -> Target:
        """The same, its files not looked at: for what is loaded, whatever has become of them since."""
        return self._target(name)[0]

    def explain(self, name: str) -> Explanation:
        """How `name` is resolved, step by step, its files not looked at.

        Raises `ModelNotFound` with what to do about it, `BadRequest` for aliases that lead in a circle.
        """
        search, found = self._find(name)
        return Explanation(
            requested=name,
            resolved=found.name,
            steps=tuple(search.steps),
            backend=search.backend,
            defaults=_defaults(search, found),
        )

    def offered(self) -> list[ModelSpec]:
        """Models that backends offer without files in the store, by backend name."""
        return [model for _, model in self._offers()]

    def offering(self, name: str) -> str | None:
        """The backend that offers a model of this name."""
        return next((backend for backend, model in self._offers() if same_name(model.name, name)), None)

    def backends(self) -> dict[str, Backend]:
        """The installed backends; asked for once."""
        return {name: backend for name, (_, backend) in self._installed().items()}

    def refusal(self, name: str) -> NoBackend | None:
        """Why a request to `name` would be told that no backend serves it; None where one does. Files are not looked
        at. Raises what `find` raises."""
        try:
            choose_backend(self.find(name), self._installed(), self.plugins.broken)
        except NoBackend as refusal:
            return refusal
        return None

    def _installed(self) -> Offers:
        if self._asked is None:
            self._asked = self.plugins.offers()
        return self._asked

    def _target(self, name: str) -> tuple[Target, StoredModel | ModelSpec]:
        search, found = self._find(name)
        spec = self.store.unchecked_spec(found) if isinstance(found, StoredModel) else found
        for alias in reversed(search.aliases):
            spec = replace(spec, parameters=spec.parameters | alias.parameters)
        keep_alive = _defaults(search, found).get("keep_alive")
        target = Target(
            requested=name,
            resolved=found.name,
            spec=spec,
            backend=search.backend,
            options=engine_options(search.aliases, spec.parameters, self.settings),
            n_ctx_train=found.info.n_ctx_train if isinstance(found, StoredModel) else 0,
            keep_alive_s=None if keep_alive is None else parse_duration(keep_alive.value),
        )
        return target, found

    def _find(self, name: str) -> tuple["_Search", StoredModel | ModelSpec]:
        search = self._look_up(name)
        if search.found is None:
            raise self._not_found(search, find_entry(catalogue(self.plugins), search.names[-1]))
        return search, search.found

    def _look_up(self, name: str) -> "_Search":
        """Follow `name` to a model, or to where it ends."""
        search = _Search(names=[name])
        aliases = self.aliases.all()
        while True:
            wanted = search.names[-1]
            search.found = self._local(wanted, search)
            if search.found is not None:
                return search
            search.steps.append(f"'{wanted}' is no model in the store.")
            alias = find_alias(aliases, wanted)
            if alias is not None:
                search.follow(alias)
                continue
            self.aliases.check(wanted)
            prefix, _, rest = wanted.partition("/")
            backend = next((known for known in self.backends() if known.lower() == prefix.lower()), None)
            if backend is None or not rest:
                return search
            search.steps.append(f"'{prefix}/' asks for the backend {backend}.")
            search.backend = search.backend or backend
            search.names.append(rest)

    def _local(self, wanted: str, search: "_Search") -> StoredModel | ModelSpec | None:
        """The model of exactly this name: the asked-for backend's own, the store's, or any backend's own."""
        offers = [(backend, spec) for backend, spec in self._offers() if same_name(spec.name, wanted)]
        own = next((spec for backend, spec in offers if backend == search.backend), None)
        try:
            stored = None if own else self.store.find(wanted)
        except InvalidName:
            stored = None
        if own is not None or stored is not None:
            search.steps.append(f"'{wanted}' is a model {'in the store' if stored else f'of {search.backend}'}.")
            return own or stored
        if offers and search.backend is None:
            search.backend, spec = offers[0]
            search.steps.append(f"'{wanted}' is a model of {search.backend}.")
            return spec
        return None

    def _offers(self) -> list[tuple[str, ModelSpec]]:
        """(backend, model) of everything backends offer by themselves. One that cannot say offers nothing."""
        found: list[tuple[str, ModelSpec]] = []
        for name, backend in self.backends().items():
            if isinstance(backend, OffersModels):
                try:
                    models = list(backend.models())
                    if wrong := [type(model).__name__ for model in models if not isinstance(model, ModelSpec)]:
                        raise TypeError(f"{wrong[0]} is no ModelSpec")
                    found += [(name, model) for model in models]
                except Exception:
                    logger.exception("The backend '%s' cannot say which models it offers", name)
        return found

    def _not_found(self, search: "_Search", entry: CatalogueEntry | None) -> ModelNotFound:
        requested, wanted = search.names[0], search.names[-1]
        if entry is not None:
            hint = f"Run `aiadmin pull {entry.name}` to fetch it."
        elif later := self.plugins.installed_since():
            named = " and ".join(f"'{name}'" for name in later)
            hint = f"The plugin {named} was installed after this server had started: start it again to use it."
        elif near := self._nearest(wanted):
            hint = f"Did you mean '{near}'?"
        else:
            hint = "`aiadmin list` shows the models that are here, `aiadmin pull` fetches others."
        if search.aliases:
            hint = f"It is an alias of '{wanted}', which is not here. {hint}"
        return ModelNotFound(requested, hint=hint)

    def _nearest(self, wanted: str) -> str | None:
        known = [model.name for model in self.store.models()] + [model.name for model in self.offered()]
        known += [*self.aliases.all(), *(entry.name for entry in catalogue(self.plugins))]
        by_key = {short_name(name).lower(): short_name(name) for name in known}
        near = difflib.get_close_matches(short_name(wanted[:MAX_NAME]).lower(), by_key, n=1)
        return by_key[near[0]] if near else None


def _defaults(search: "_Search", found: StoredModel | ModelSpec) -> dict[str, Default]:
    """What a request to the name leaves open, each from whoever counts most: the outermost alias first. Pure."""
    if isinstance(found, StoredModel):
        defaults = found.defaults
        if found.own.keep_alive is not None:
            defaults["keep_alive"] = Default(found.own.keep_alive, "`aiadmin set`")
    else:
        defaults = {name: Default(value, "the backend's") for name, value in found.parameters.items()}
    for name, alias in reversed(search.followed):
        own = alias.parameters | {"num_ctx": alias.n_ctx, "keep_alive": alias.keep_alive}
        defaults |= {key: Default(value, f"the alias {name}") for key, value in own.items() if value is not None}
    return defaults


@dataclass(kw_only=True)
class _Search:
    """What is known while a name is followed."""

    names: list[str]
    """As asked for, then what each stands for."""
    steps: list[str] = field(default_factory=list)
    followed: list[tuple[str, Alias]] = field(default_factory=list)
    """The aliases passed through with their names, outermost first: the earlier one's settings count."""
    backend: str | None = None
    found: StoredModel | ModelSpec | None = None

    @property
    def aliases(self) -> list[Alias]:
        return [alias for _, alias in self.followed]

    def follow(self, alias: Alias) -> None:
        """Go on with what an alias stands for. Raises `BadRequest` where that was asked before."""
        wanted, target = self.names[-1], alias.target
        self.steps.append(f"'{wanted}' is an alias of '{target}'.")
        if any(target == earlier or same_name(target, earlier) for earlier in self.names):
            raise BadRequest(
                f"The alias '{self.names[0]}' leads back to itself: {' -> '.join([*self.names, target])}.",
                hint=f"Let it name a model: `aiadmin alias set {wanted} MODEL`.",
                param="model",
            )
        self.followed.append((wanted, alias))
        self.backend = self.backend or alias.backend
        self.names.append(target)


def engine_options(aliases: Sequence[Alias], parameters: Mapping[str, Any], settings: Settings) -> EngineOptions:
    """How to open a model: an alias's word counts most, then the model's own `parameters`, then the settings. Pure."""

    def own(name: str, *, least: int) -> int | None:
        value = parameters.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= least else None

    scaling = parameters.get("rope_scaling")
    return EngineOptions(
        rope_scaling=scaling if scaling in get_args(RopeScaling) else settings.rope_scaling,
        n_ctx=_first([*(alias.n_ctx for alias in aliases), own("num_ctx", least=1), settings.n_ctx]),
        n_parallel=_first([*(alias.n_parallel for alias in aliases), settings.n_parallel]),
        n_batch=own("num_batch", least=1),
        n_threads=own("num_thread", least=1),
        n_gpu_layers=own("num_gpu", least=0),
        kv_cache_type=settings.kv_cache_type,
        exact=settings.exact,
        speculation=settings.speculation,
        prefix_bytes=None if settings.prefix_memory_mib is None else settings.prefix_memory_mib << 20,
        prefix_folder=str(settings.state / "prefixes") if settings.prefix_disk_mib else None,
        prefix_disk_bytes=settings.prefix_disk_mib << 20,
    )


def _first(values: Iterable[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
