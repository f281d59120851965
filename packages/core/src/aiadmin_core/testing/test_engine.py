"""The kit under pytest: `pytest --pyargs aiadmin_core.testing --aiadmin-backend NAME --aiadmin-model PATH`."""

from operator import attrgetter

import pytest

from aiadmin_core.testing.asking import NotClaimed
from aiadmin_core.testing.conformance import BEHAVIOURS, Behaviour, check
from aiadmin_core.testing.pytest_plugin import OpenEngine


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=attrgetter("__name__"))
def test_engine(behaviour: Behaviour, aiadmin_engine: OpenEngine) -> None:
    try:
        aiadmin_engine.runner.run(check(behaviour, aiadmin_engine.engine))
    except NotClaimed as reason:
        pytest.skip(str(reason))
