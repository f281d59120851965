"""How a name is followed to a model, one step after the other. Pure; made by the resolver."""

from dataclasses import dataclass, replace

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.model import ModelSpec

from ..store.aliases import Alias
from ..store.defaults import Default
from ..store.names import same_name
from ..store.store import StoredModel

MAX_STEPS = 32
"""Aliases that one name may lead through."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How far a name has been followed. Each step makes a new one."""

    names: tuple[str, ...]
    """As asked for, then what each stands for."""
    steps: tuple[str, ...] = ()
    """What was looked at, in order, one sentence each."""
    followed: tuple[tuple[str, Alias], ...] = ()
    """The aliases passed through with their names, outermost first: the earlier one's settings count."""
    backend: str | None = None
    found: StoredModel | ModelSpec | None = None

    @property
    def wanted(self) -> str:
        """What is to be looked up next."""
        return self.names[-1]

    def saying(self, step: str) -> "Search":
        return replace(self, steps=(*self.steps, step))

    def through(self, name: str, alias: Alias, target: str) -> "Search":
        """Go on with `target`, one of what the alias called `name` stands for. Raises `BadRequest` where that was asked
        before."""
        leads = "is an alias of" if target == alias.target else "falls back on"
        by = f", by the pattern '{name}'," if not same_name(name, self.wanted) and name != self.wanted else ""
        if len(self.names) > MAX_STEPS:
            raise BadRequest(f"The alias '{self.names[0]}' leads through more than {MAX_STEPS} others.", param="model")
        if self.has_asked(target):
            raise BadRequest(
                f"The alias '{self.names[0]}' leads back to itself: {' -> '.join([*self.names, target])}.",
                hint=f"Let it name a model: `aiadmin alias set {name} MODEL`.",
                param="model",
            )
        return replace(
            self,
            names=(*self.names, target),
            steps=(*self.steps, f"'{self.wanted}'{by} {leads} '{target}'."),
            followed=(*self.followed, (name, alias)),
            backend=self.backend or alias.backend,
        )

    def behind(self, prefix: str, backend: str, rest: str) -> "Search":
        """Go on with what stands behind a backend's name."""
        step = f"'{prefix}/' asks for the backend {backend}."
        return replace(self, names=(*self.names, rest), steps=(*self.steps, step), backend=self.backend or backend)

    def at(self, found: StoredModel | ModelSpec, where: str, *, backend: str | None) -> "Search":
        """It ends here."""
        return replace(self, found=found, backend=backend, steps=(*self.steps, f"'{self.wanted}' is a model {where}."))

    def has_asked(self, name: str) -> bool:
        return any(name == earlier or same_name(name, earlier) for earlier in self.names)


def defaults_of(search: Search, found: StoredModel | ModelSpec) -> dict[str, Default]:
    """What a request to the name leaves open, each from whoever counts most: the outermost alias first."""
    if isinstance(found, StoredModel):
        defaults = found.defaults
        if found.own.keep_alive is not None:
            defaults["keep_alive"] = Default(found.own.keep_alive, "`aiadmin set`")
    else:
        defaults = {name: Default(value, "the backend's") for name, value in found.parameters.items()}
    for name, alias in reversed(search.followed):
        own = alias.parameters | {"keep_alive": alias.keep_alive, "system": alias.system}
        defaults |= {key: Default(value, f"the alias {name}") for key, value in own.items() if value is not None}
    return defaults
