"""The driver of token engines, on one that follows a script."""

import pytest

from aiadmin_core.backend import Prefilled, Sampled
from aiadmin_core.errors import BadRequest
from aiadmin_core.testing.driving import Driver
from aiadmin_core.testing.fake import FakeTokenEngine


@pytest.fixture
def driver():
    engine = FakeTokenEngine(script=lambda request, choice: list(f"{choice}: yes".encode()))
    made = Driver(engine)
    yield made
    engine.close()


def test_what_each_choice_got_is_put_together(driver):
    asked = driver.run("hi", n=2)

    assert [driver.text(asked.choices[choice].tokens) for choice in (0, 1)] == ["0: yes", "1: yes"]
    assert asked.reasons == {0: "stop", 1: "stop"}
    assert asked.prefilled.n_prompt == 2
    assert len(asked.all(Prefilled)) == 1
    assert len(asked.all(Sampled)) == 2 * len("0: yes")


def test_options_go_to_the_request_or_to_its_sampling(driver):
    asked = driver.run("hi", max_tokens=3, cache_salt="x", seed=7)

    assert asked.reasons == {0: "length"}
    assert (asked.request.cache_salt, asked.request.sampling.seed, asked.request.sampling.temperature) == ("x", 7, 0.0)


def test_a_request_that_fails_is_over():
    driver = Driver(FakeTokenEngine(fault=BadRequest("Broken.")))

    asked = driver.run("hi")

    assert str(asked.error) == "Broken."
    assert asked.done
    driver.engine.close()


def test_steps_can_be_waited_for(driver):
    asked = driver.submit("hi")
    driver.until(lambda: len(asked.tokens) >= 2)

    assert asked.first_token.is_set()
    driver.wait(asked)
