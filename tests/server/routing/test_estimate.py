"""What a model takes, as its backend tells it: a plugin's trouble is not its users'."""

import logging

import pytest

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.errors import BadRequest
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import load_plugins
from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
from aiadmin_core.testing.echo import EchoBackend
from aiadmin_server.routing.estimate import estimate, estimate_spec
from aiadmin_server.routing.target import Target
from aiadmin_server.settings import load_settings

SPEC = ModelSpec(name="m", digest="sha256:m", format="other", files=(ModelFile(role="model", path="/m", size=1000),))


class Telling(EchoBackend):
    def __init__(self, answer):
        self.answer = answer

    def estimate_memory(self, spec, options):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Plugin:
    def __init__(self, backend):
        self._backend = backend

    @hookimpl
    def aiadmin_backends(self):
        return [self._backend]


def asked_before_it_is_here(backend):
    plugins = load_plugins(builtin=[("telling", Plugin(backend))], only=[])
    return estimate_spec(SPEC, plugins, load_settings({"AIADMIN_STATE": "/s"}))


def of_the_files(backend):
    target = Target(requested="m", resolved="m", spec=SPEC, options=EngineOptions())
    return estimate(backend, target).weights_bytes


def test_a_backend_that_breaks_on_a_header_is_named_in_the_log_and_the_files_count(caplog):
    backend = Telling(ZeroDivisionError("a mistake"))
    with caplog.at_level(logging.ERROR):
        assert of_the_files(backend) == 1000
        assert asked_before_it_is_here(backend) is None
    assert caplog.text.count(f"The backend '{backend.name}' cannot say what m takes") == 2


def test_a_header_that_is_not_whole_is_told_to_who_can_fetch_more_of_it():
    backend = Telling(BadRequest("It ends in the middle."))
    assert of_the_files(backend) == 1000
    with pytest.raises(BadRequest):
        asked_before_it_is_here(backend)


def test_what_it_tells_of_this_machine_s_memory_is_said_beforehand():
    told = MemoryEstimate(weights_bytes=5, is_certain=True)
    assert of_the_files(Telling(told)) == 5
    assert asked_before_it_is_here(Telling(told)) == told
    assert asked_before_it_is_here(Telling(MemoryEstimate(weights_bytes=5))) is None, "a guess"
