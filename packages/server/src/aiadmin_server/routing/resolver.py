"""From the name in a request to the model behind it. Used by the router for every request, and by `aiadmin show`.

The order is fixed:

1. a model in the store, or one that a backend offers by itself, of exactly this name (case aside; no tag is `latest`)
2. an alias of this name, whose target is looked up the same way; after that, for those who ask again, its fallbacks
3. `<backend>/<name>`: the rest, served by that backend
4. an alias that is a pattern (`gpt-*`), the one with the longest text before its first `*`
5. the catalogue: not here yet, `aiadmin pull` fetches it
6. the default registry: cannot be asked yet, so the name is not found, and the nearest one is suggested
"""

import difflib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aiadmin_core.backend import Backend, OffersModels
from aiadmin_core.errors import BadRequest, InvalidName, ModelNotFound, NoBackend
from aiadmin_core.plugins import Plugins
from aiadmin_core.specs.loading import engine_fields
from aiadmin_core.specs.model import EngineOptions, ModelSpec
from aiadmin_core.specs.request import NamedAdapter

from ..catalogue import catalogue, find_entry
from ..durations import parse_duration
from ..settings import Settings
from ..store.aliases import Alias, Aliases, find_alias, match_alias
from ..store.defaults import Default
from ..store.names import same_name, short_name
from ..store.store import ModelStore, StoredModel
from .adapters import LoadedFrom, adapters_of, without_adapters
from .choice import Offers, choose_backend
from .draft import with_draft
from .outline import Outline, Outlines
from .search import Search, defaults_of
from .target import NothingLeft, Target

MAX_NAME = 600
"""Characters of a name; whatever else came in its place is not compared any further."""
MAX_CANDIDATES = 32
"""Models that are tried for one request."""
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
    """What a request leaves open, by name: sampling, `num_ctx`, `keep_alive`, an alias's `system`."""
    alias_of: str = ""
    """What the name is an alias of, by itself or by a pattern."""
    fallbacks: tuple[str, ...] = ()
    """The models that are asked instead, in order, where that one cannot answer."""


class Resolver:
    """Looks names up. Reads the disk at each call, so that it sees what another process has just pulled."""

    def __init__(self, store: ModelStore, aliases: Aliases, plugins: Plugins, settings: Settings) -> None:
        self.store = store
        self.aliases = aliases
        self.plugins = plugins
        self.settings = settings
        self._asked: Offers | None = None
        self._outlines = Outlines()

    def resolve(self, name: str, passed: int = 0) -> Target:
        """The model behind `name`, and how it is to be served; where the name has fallbacks, and `passed` of what it
        stands for cannot serve it, the next one.

        Raises `ModelNotFound` with what to do about it, `BadRequest` for aliases that lead in a circle and for a draft
        model that is not there, `StoreError` for a model whose files are not what they should be, and `NothingLeft`
        where that was all.
        """
        left = list(itertools.islice(self.searches(name), passed, passed + 2))
        if not left:
            raise NothingLeft
        search, *further = left
        target = self._target(search)
        spec = with_draft(target.spec, target.options.draft_model, self.store)
        target = replace(target, spec=spec, falls_back=bool(further))
        if isinstance(search.found, StoredModel):
            return replace(target, doubts=self.store.doubts(target.spec))
        return target

    def adapters(self, wanted: Sequence[NamedAdapter]) -> tuple[LoadedFrom, ...]:
        """Those that a request names. Raises `BadRequest` for a name without any, `InvalidName`."""
        return adapters_of(wanted, self.store)

    def find(self, name: str) -> list[Target]:
        """All that `name` may stand for and that is there, its files not looked at, without those of draft models: for
        what is loaded, whatever has become of them since. Never empty: raises what `resolve` does."""
        searches = list(self.searches(name))
        return [self._target(search) for search in searches if search.found is not None] or [self._target(searches[0])]

    def explain(self, name: str) -> Explanation:
        """How `name` is resolved, step by step, its files not looked at.

        Raises `ModelNotFound` with what to do about it, `BadRequest` for aliases that lead in a circle.
        """
        searches = list(self.searches(name))
        search = next((search for search in searches if search.found is not None), searches[0])
        found = self._found(search)
        return Explanation(
            requested=name,
            resolved=found.name,
            steps=search.steps,
            backend=search.backend,
            defaults=defaults_of(search, found),
            alias_of=search.followed[0][1].target if search.followed else "",
            fallbacks=tuple(dict.fromkeys(other.found.name for other in searches if other.found and other != search)),
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

    def outline(self, model: StoredModel) -> Outline | None:
        """What its files tell of what it can do; None where they tell nothing."""
        return self._outlines.of(model, self.backends())

    def refusal(self, name: str) -> NoBackend | None:
        """Why a request to `name` would be told that no backend serves it; None where one does. Files are not looked
        at. Raises what `find` raises."""
        try:
            self.backend_of(name)
        except NoBackend as refusal:
            return refusal
        return None

    def backend_of(self, name: str) -> str:
        """The backend that would serve a request to `name`. Raises `NoBackend` where none would, and what `find`
        raises."""
        refused: NoBackend | None = None
        for target in self.find(name):
            try:
                return choose_backend(target, self._installed(), self.plugins.broken)
            except NoBackend as refusal:
                refused = refused or refusal
        assert refused is not None, "a name leads somewhere"
        raise refused

    def _installed(self) -> Offers:
        if self._asked is None:
            self._asked = self.plugins.offers()
        return self._asked

    def _target(self, search: Search) -> Target:
        """Raises what `_found` does."""
        found = self._found(search)
        whole = self.store.unchecked_spec(found) if isinstance(found, StoredModel) else found
        spec, adapters = without_adapters(whole)
        chosen = next((alias.lora for _, alias in search.followed if alias.lora), None)
        own = {name: default.value for name, default in defaults_of(search, found).items()}
        keep_alive, system = own.pop("keep_alive", None), own.pop("system", None)
        stops = [alias.parameters.get("stop", ()) for _, alias in search.followed]
        return Target(
            requested=search.names[0],
            resolved=found.name,
            spec=spec,
            defaults=own,
            system=system,
            stop=tuple(next((texts for texts in stops if texts), ())),
            adapters=adapters if chosen is None else adapters_of(chosen, self.store),
            backend=search.backend,
            options=engine_options(own, self.settings),
            n_ctx_train=found.info.n_ctx_train if isinstance(found, StoredModel) else 0,
            keep_alive_s=None if keep_alive is None else parse_duration(keep_alive),
        )

    def _found(self, search: Search) -> StoredModel | ModelSpec:
        """What the search has come to. Raises `ModelNotFound`."""
        if search.found is None:
            raise self.not_found(search)
        return search.found

    def searches(
        self, name: str, aliases: Mapping[str, Alias] | None = None, *, strict: bool = False
    ) -> Iterator[Search]:
        """What `name` may stand for, in order: at least one, found or not. A fallback that leads back is passed over,
        unless `strict`; a target that does raises `BadRequest`."""
        known = self.aliases.all() if aliases is None else aliases
        return itertools.islice(self._follow(Search(names=(name,)), known, strict=strict), MAX_CANDIDATES)

    def _follow(
        self, search: Search, aliases: Mapping[str, Alias], *, strict: bool, is_fallback: bool = False
    ) -> Iterator[Search]:
        here = self._local(search)
        if here is not None:
            yield here
            return
        wanted, search = search.wanted, search.saying(f"'{search.wanted}' is no model in the store.")
        alias = find_alias(aliases, wanted)
        found = None if alias is None else (wanted, alias)
        if found is None:
            self.aliases.check(wanted)
            prefix, _, rest = wanted.partition("/")
            backend = next((known for known in self.backends() if known.lower() == prefix.lower()), None)
            if backend is not None and rest:
                behind = search.behind(prefix, backend, rest)
                yield from self._follow(behind, aliases, strict=strict, is_fallback=is_fallback)
                return
            found = match_alias(aliases, wanted) if len(wanted) <= MAX_NAME else None
        if found is None:
            yield search
            return
        for target in dict.fromkeys(found[1].targets):
            passes_over = not strict and (is_fallback or target != found[1].target)
            try:
                further = search.through(*found, target)
            except BadRequest:
                if not passes_over:
                    raise
                continue
            yield from self._follow(further, aliases, strict=strict, is_fallback=passes_over)

    def _local(self, search: Search) -> Search | None:
        """The end of the search, at the model of exactly this name: the asked-for backend's own, the store's, or any
        backend's own."""
        wanted = search.wanted
        offers = [(backend, spec) for backend, spec in self._offers() if same_name(spec.name, wanted)]
        own = next((spec for backend, spec in offers if backend == search.backend), None)
        try:
            stored = None if own else self.store.find(wanted)
        except InvalidName:
            stored = None
        if own is not None:
            return search.at(own, f"of {search.backend}", backend=search.backend)
        if stored is not None:
            return search.at(stored, "in the store", backend=search.backend)
        if offers and search.backend is None:
            backend, spec = offers[0]
            return search.at(spec, f"of {backend}", backend=backend)
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

    def not_found(self, search: Search) -> ModelNotFound:
        """What to say where a search has come to nothing."""
        entry = find_entry(catalogue(self.plugins), search.wanted)
        requested, wanted = search.names[0], search.wanted
        if entry is not None:
            hint = f"Run `aiadmin pull {entry.name}` to fetch it."
        elif later := self.plugins.installed_since():
            named = " and ".join(f"'{name}'" for name in later)
            hint = f"The plugin {named} was installed after this server had started: start it again to use it."
        elif near := self._nearest(wanted):
            hint = f"Did you mean '{near}'?"
        else:
            hint = "`aiadmin list` shows the models that are here, `aiadmin pull` fetches others."
        if search.followed:
            hint = f"It is an alias of '{wanted}', which is not here. {hint}"
        return ModelNotFound(requested, hint=hint)

    def _nearest(self, wanted: str) -> str | None:
        known = [model.name for model in self.store.models()] + [model.name for model in self.offered()]
        known += [*self.aliases.all(), *(entry.name for entry in catalogue(self.plugins))]
        by_key = {short_name(name).lower(): short_name(name) for name in reversed(known)}  # what is here goes first
        near = difflib.get_close_matches(short_name(wanted[:MAX_NAME]).lower(), by_key, n=1)
        return by_key[near[0]] if near else None


def engine_options(parameters: Mapping[str, Any], settings: Settings) -> EngineOptions:
    """How to open a model: as `parameters` say, an alias's and the model's own, then the settings. Pure."""
    unasked = EngineOptions(
        rope_scaling=settings.rope_scaling,
        n_ctx=settings.n_ctx,
        n_parallel=settings.n_parallel,
        n_contexts=settings.n_contexts,
        n_replicas=settings.n_replicas,
        kv_cache_type=settings.kv_cache_type,
        exact=settings.exact,
        speculation=settings.speculation,
        prefix_bytes=None if settings.prefix_memory_mib is None else settings.prefix_memory_mib << 20,
        prefix_folder=str(settings.prefixes) if settings.prefix_disk_mib else None,
        prefix_disk_bytes=settings.prefix_disk_mib << 20,
    )
    options = replace(unasked, **engine_fields(parameters))
    return replace(options, n_replicas=None) if settings.in_process else options  # they would share one process
