"""instructor: objects instead of text, in the modes by which it asks servers like OpenAI's."""

from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict, Field

instructor = pytest.importorskip("instructor")

ASK = [{"role": "user", "content": "Plan a trip to Trier, for two days."}]
MODES = ("TOOLS", "TOOLS_STRICT", "JSON_SCHEMA")


class Place(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["Bonn", "Trier"]


class Trip(BaseModel):
    model_config = ConfigDict(extra="forbid")
    place: Place
    days: Literal[1, 2, 3]


@pytest.fixture
def clients(base_url: str) -> Any:
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield {mode: instructor.from_openai(client, mode=instructor.Mode[mode]) for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
def test_an_object_is_made(clients: Any, mode: str) -> None:
    trip = clients[mode].create(
        model="smollm2", messages=ASK, response_model=Trip, max_retries=0, max_tokens=80, temperature=0
    )

    assert isinstance(trip, Trip)


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_an_object_grows_while_it_is_written(clients: Any, mode: str) -> None:
    growing = list(
        clients[mode].create_partial(model="smollm2", messages=ASK, response_model=Trip, max_tokens=80, temperature=0)
    )

    assert Trip.model_validate(growing[-1].model_dump())
    assert len(growing) > 2


def test_several_objects_come_in_one_answer(clients: Any) -> None:
    class Trips(BaseModel):
        model_config = ConfigDict(extra="forbid")
        trips: tuple[Trip, Trip]

    class Towns(BaseModel):
        model_config = ConfigDict(extra="forbid")
        names: list[Literal["Bonn", "Trier"]] = Field(min_length=1, max_length=3)

    trips = clients["JSON_SCHEMA"].create(
        model="smollm2", messages=ASK, response_model=Trips, max_retries=0, max_tokens=120, temperature=0
    )

    assert len(trips.trips) == 2
    calls = clients["TOOLS"].create(
        model="smollm2",
        messages=ASK,
        response_model=Towns,
        max_retries=0,
        max_tokens=120,
        temperature=0,
    )
    assert 1 <= len(calls.names) <= 3
