"""Creates, pulls, copies and removals of overlapping names at once: whatever comes when, the store stays whole.

A create or a pull is held where it has looked at its base and not yet taken the lock; anything may happen meanwhile.
"""

import contextlib
import hashlib
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from aiadmin_core.errors import AiAdminError
from aiadmin_core.plugins import load_plugins
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_server.modelfile.bases import Workshop
from aiadmin_server.modelfile.creating import create
from aiadmin_server.modelfile.recipe import Recipe
from aiadmin_server.store.store import ModelStore

NAMES = strategies.sampled_from(["a", "b", "c", "B:latest", "a:other"])
WEIGHTS = strategies.sampled_from([b"GGUF one", b"GGUF two", b"GGUF three"])
TEMPLATES = strategies.sampled_from([None, "{{ .Prompt }}", "{% if messages %}x{% endif %}"])
PATIENCE_S = 20


class Held:
    """A create or pull in a thread of its own, which waits at its first word behind `until` until it may go on."""

    def __init__(self, work: Any, until: str) -> None:
        self._until = until
        self._go = threading.Event()
        self._reached = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[work], daemon=True)
        self.error: BaseException | None = None
        self._thread.start()
        assert self._reached.wait(PATIENCE_S)

    def report(self, step: Progress) -> None:
        if step.status.startswith(self._until):
            self._reached.set()
            assert self._go.wait(PATIENCE_S)

    def _run(self, work: Any) -> None:
        try:
            work(self.report)
        except AiAdminError as error:  # its base went away, say
            self.error = error
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._reached.set()

    def finish(self) -> None:
        self._go.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self.error is None or isinstance(self.error, AiAdminError), self.error


class Interleavings(RuleBasedStateMachine):
    """What the commands do, in any order and begun before others end."""

    begun = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = ModelStore(self.folder / "models")
        self.plugins = load_plugins(only=[])
        self.creating: set[str] = set()
        """Names being made: another create of the same would wait for the first."""
        self.held: list[Held] = []

    def teardown(self) -> None:
        for held in self.held:
            held.finish()
        shutil.rmtree(self.folder)

    def shop(self, report: Any) -> Workshop:
        return Workshop(store=self.store, plugins=self.plugins, progress=report, folder=self.folder)

    def fetched(self, data: bytes) -> FetchedModel:
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}.gguf"
        path.write_bytes(data)
        return FetchedModel(files=(FetchedFile(path=path),), format="gguf", origin="file:x")

    @rule(name=NAMES, data=WEIGHTS)
    def pull(self, name: str, data: bytes) -> None:
        self.store.add(name, self.fetched(data), replace=True)

    @rule(target=begun, name=NAMES, data=WEIGHTS)
    def begin_pull(self, name: str, data: bytes) -> Any:
        fetched = self.fetched(data)
        held = Held(lambda report: self.store.add(name, fetched, replace=True, progress=report), "verifying")
        self.held.append(held)
        return held

    @rule(target=begun, name=NAMES, base=NAMES, system=strategies.sampled_from(["x", "y"]), template=TEMPLATES)
    def begin_create(self, name: str, base: str, system: str, template: str | None) -> Any:
        if name.lower().removesuffix(":latest") in self.creating:
            return multiple()
        recipe = Recipe(bases=(base,), system=system, template=template)
        held = Held(lambda report: create(name, recipe, self.shop(report)), "creating new layer")
        held.name = name.lower().removesuffix(":latest")  # type: ignore[attr-defined]
        self.creating.add(held.name)  # type: ignore[attr-defined]
        self.held.append(held)
        return held

    @rule(name=NAMES, data=WEIGHTS)
    def create_of_an_upload(self, name: str, data: bytes) -> None:
        if name.lower().removesuffix(":latest") in self.creating:
            return
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        upload = self.store.uploads.begin(digest, len(data))
        upload.write(data)
        upload.finish()
        create(name, Recipe(files={"m.gguf": digest}), self.shop(lambda _: None))

    @rule(held=consumes(begun))
    def finish(self, held: Held) -> None:
        held.finish()
        self.creating.discard(getattr(held, "name", ""))

    @rule(source=NAMES, destination=NAMES)
    def copy(self, source: str, destination: str) -> None:
        with contextlib.suppress(AiAdminError):
            self.store.copy(source, destination)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        with contextlib.suppress(AiAdminError):
            self.store.remove(name)

    @rule(name=NAMES, temperature=strategies.sampled_from([0.1, 0.2]))
    def set_defaults(self, name: str, temperature: float) -> None:
        with contextlib.suppress(AiAdminError):
            self.store.set_defaults(name, lambda own: type(own)(parameters={"temperature": temperature}))

    @rule(actions=strategies.lists(strategies.tuples(NAMES, NAMES, WEIGHTS, strategies.integers(0, 3)), max_size=10))
    def all_at_once(self, actions: list[Any]) -> None:
        """Ten threads, begun together."""
        failures: list[BaseException] = []
        barrier = threading.Barrier(len(actions) + 1)
        files = [self.fetched(data) for _, _, data, _ in actions]

        def act(index: int) -> None:
            name, other, _, kind = actions[index]
            barrier.wait(PATIENCE_S)
            try:
                match kind:
                    case 0:
                        self.store.add(name, files[index], replace=True)
                    case 1:
                        self.store.copy(name, other)
                    case 2:
                        self.store.remove(name)
                    case _ if name.lower().removesuffix(":latest") not in self.creating:
                        create(name, Recipe(bases=(other,), system="z"), self.shop(lambda _: None))
            except AiAdminError:
                pass
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=act, args=[index], daemon=True) for index in range(len(actions))]
        for thread in threads:
            thread.start()
        barrier.wait(PATIENCE_S)
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not failures
        assert not any(thread.is_alive() for thread in threads)

    @invariant()
    def it_is_whole(self) -> None:
        assert self.store.problems() == []
        assert self.store.verify() == []
        for model in self.store.models():
            assert self.store.find(model.name) == model
            assert self.store.spec(model).files


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=300 if settings.default.max_examples > 1000 else 8,  # of 20 steps; a second each: everything is synced
    stateful_step_count=20,
    deadline=None,
)
