"""The kit holds on engines that keep to the protocol, and finds those that do not."""

import asyncio
import subprocess
import sys
from operator import attrgetter

import pytest

from aiadmin_core.assemble import assemble
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.testing.asking import NotClaimed
from aiadmin_core.testing.conformance import BEHAVIOURS, check
from aiadmin_core.testing.echo import EchoBackend, EchoEngine
from aiadmin_core.testing.fake import ByteTokenizer, FakeTokenEngine

MODEL = ModelSpec(name="test", digest="", format="other", files=())
behaviours = pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))


def run(behaviour, engine):
    async def main():
        try:
            await check(behaviour, engine)
        finally:
            await engine.close()

    asyncio.run(main())


@behaviours
def test_the_echo_engine_keeps_to_it(behaviour):
    try:
        run(behaviour, EchoEngine())
    except NotClaimed as reason:
        assert str(reason)  # noqa: PT017 - a behaviour that is left out says why


@behaviours
def test_an_assembled_engine_keeps_to_it(behaviour):
    try:
        run(behaviour, assemble(FakeTokenEngine(), MODEL, dialects=()))
    except NotClaimed as reason:
        assert "embed" in str(reason)  # noqa: PT017 - nothing else may be left out


def thinks_first(request, choice):
    return list(f"<think>hm, {request.sampling.seed} {choice}</think>{'Well, then. ' * 20}".encode())


@behaviours
def test_an_assembled_engine_that_reasons_keeps_to_it(behaviour):
    tokenizer = ByteTokenizer(chat_template="{{ messages[0].content }}{# <think></think> #}{{ bos_token }}")
    engine = FakeTokenEngine(tokenizer=tokenizer, script=thinks_first)
    try:
        run(behaviour, assemble(engine, MODEL, dialects=()))
    except NotClaimed as reason:
        assert "embed" in str(reason) or "repeat" in str(reason)  # noqa: PT017 - the answer is too short to cut


def test_every_behaviour_gives_its_reason():
    assert all(behaviour.__doc__ for behaviour in BEHAVIOURS)
    assert len({behaviour.__name__ for behaviour in BEHAVIOURS}) == len(BEHAVIOURS)


def test_the_echo_backend_opens_anything_of_no_format():
    backend = EchoBackend()

    assert backend.suitability(MODEL)
    assert backend.suitability(ModelSpec(name="x", digest="", format="gguf", files=())) is None
    assert backend.health().ok


def kit(*arguments, cwd):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "aiadmin_core.testing"]
    return subprocess.run([*command, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_the_kit_runs_as_one_command(tmp_path):
    result = kit("--aiadmin-backend", "echo", "-rs", cwd=tmp_path)

    assert result.returncode == 0, result.stdout
    assert "passed" in result.stdout
    assert "the engine honours no seed" in result.stdout


def test_the_kit_names_the_backends_there_are(tmp_path):
    result = kit("--aiadmin-backend", "ecco", cwd=tmp_path)

    assert result.returncode == 1
    assert "No installed plugin offers a backend named 'ecco'" in result.stdout
    assert "echo" in result.stdout


def test_other_test_runs_pay_nothing_for_the_kit():
    """pytest imports its plugins in every run on the machine."""
    code = "import sys, aiadmin_core.testing.pytest_plugin as _; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"msgspec", "jinja2", "llguidance", "numpy"} & set(loaded)
    assert not [name for name in loaded if name.startswith("aiadmin_core") and "testing" not in name][1:]
