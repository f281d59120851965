"""An engine's batches on their way to an answer: checked, measured and merged, without a server."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from aiadmin_core.errors import AiAdminError, BadRequest, EngineStopped, Overloaded, PluginError
from aiadmin_core.observe import Exchange
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Failed, Finished, Started, TextDelta
from aiadmin_core.specs.request import ChatInput, GenerateRequest, TextInput
from aiadmin_server.http.record import Record
from aiadmin_server.serving.call import Call, Caller
from aiadmin_server.serving.exchange import Exchanges, checked, merge
from aiadmin_server.serving.observers import Observers


async def stream(*batches):
    for batch in batches:
        if isinstance(batch, BaseException):
            raise batch
        yield batch


def checked_stream(*batches, measured=None, n=1):
    exchange = Exchange(
        model="m",
        resolved="m:latest",
        backend="echo",
        endpoint="/v1/completions",
        identity=None,
        request=GenerateRequest(id=1, input=TextInput(text="hi"), n=n),
    )
    return checked(
        exchange, stream(*batches), [].append if measured is None else measured.append, {}, begun=lambda: None
    )


async def test_a_call_without_requests_loads_the_model_and_no_more():
    """What a program sends that wants the model to be there when it is needed."""
    asked = []
    record = Record()

    class Router:
        @contextlib.asynccontextmanager
        async def lease(self, name, **how):
            asked.append(how)
            yield SimpleNamespace(
                engine=SimpleNamespace(capabilities=Capabilities()),
                defaults={},
                system=None,
                stop=(),
                adapters=(),
                resolved="m:latest",
                backend="echo",
                falls_back=False,
            )

    exchanges = Exchanges(router=Router(), observers=Observers([]), measure=lambda *_: [].append)
    call = Call(model="m", requests=(), keep_alive_s=60)

    async with exchanges.open(call, Caller(endpoint="/load", record=record)) as opened:
        assert [batch async for batch in opened.batches] == []
        assert call.n_choices == 0
    assert record.model == "m:latest"
    assert asked[0]["keep_alive_s"] == 60
    assert asked[0]["n_requests"] == 0


class Leasing:
    """A router of a name that stands for several engines; each answers with its batches."""

    def __init__(self, *answers):
        self.answers = answers
        self.asked = []

    @contextlib.asynccontextmanager
    async def lease(self, name, *, failures, **how):
        self.asked.append([failure.message for failure in failures])
        batches = self.answers[len(failures)]
        yield SimpleNamespace(
            engine=SimpleNamespace(capabilities=Capabilities(), generate_batches=lambda _: stream(*batches)),
            defaults={},
            system=None,
            stop=(),
            adapters=(),
            resolved=f"m{len(failures)}:latest",
            backend="echo",
            falls_back=len(failures) + 1 < len(self.answers),
            failures=failures,
            begun=lambda: None,
        )


async def answered_by(router):
    exchanges = Exchanges(router=router, observers=Observers([]), measure=lambda *_: [].append)
    call = Call(model="m", requests=(GenerateRequest(id=1, input=ChatInput(messages=())),))
    async with exchanges.open(call, Caller(endpoint="/")) as opened:
        return opened.lease.resolved, [event async for batch in opened.batches for event in batch]


ANSWER = [(Started(1, 2), TextDelta(1, "a")), (Finished(1, "stop"),)]
FULL, GONE = Overloaded("Full."), EngineStopped("Gone.")


async def test_where_nothing_has_come_the_next_that_the_name_stands_for_is_asked():
    router = Leasing([FULL], [GONE], ANSWER)

    resolved, events = await answered_by(router)

    assert resolved == "m2:latest"
    assert len(events) == 3
    assert router.asked == [[], ["Full."], ["Full.", "Gone."]]


async def test_what_the_request_itself_is_to_blame_for_is_told_at_once():
    with pytest.raises(BadRequest):
        await answered_by(Leasing([BadRequest("No.")], ANSWER))


async def test_an_answer_that_has_begun_is_nobody_elses_to_go_on_with():
    with pytest.raises(EngineStopped):
        await answered_by(Leasing([ANSWER[0], GONE], ANSWER))


async def test_the_last_failure_is_told_where_nothing_is_left():
    with pytest.raises(EngineStopped):
        await answered_by(Leasing([FULL], [GONE]))


async def test_batches_pass_as_they_are_and_are_measured_once():
    batches = [(Started(1, 2), TextDelta(1, "a")), (TextDelta(1, "b"), Finished(1, "stop"))]
    measured = []

    assert [batch async for batch in checked_stream(*batches, measured=measured)] == batches == measured


async def test_a_failure_is_raised_after_what_came_before_it_in_its_batch():
    found = checked_stream((TextDelta(1, "a"), Failed(1, "It died.", code="runner_died", status=502)))

    assert await anext(found) == (TextDelta(1, "a"),)
    with pytest.raises(AiAdminError, match="It died") as caught:
        await anext(found)
    assert caught.value.code == "runner_died"


async def test_an_end_before_every_choice_has_finished_is_a_mistake_of_the_engine():
    with pytest.raises(PluginError, match="before it had finished"):
        [batch async for batch in checked_stream((Finished(1, "stop"),), n=2)]


async def test_a_stream_that_cancels_itself_has_failed():
    found = checked_stream((TextDelta(1, "a"),), asyncio.CancelledError())

    await anext(found)
    with pytest.raises(PluginError, match="cancelled from within"):
        await anext(found)


async def test_a_reader_that_is_cancelled_is_cancelled():
    async def forever():
        await asyncio.Event().wait()
        yield ()

    async def read():
        exchange = Exchange(
            model="m",
            resolved="m",
            backend="echo",
            endpoint="/",
            identity=None,
            request=GenerateRequest(id=1, input=TextInput(text="hi")),
        )
        await anext(checked(exchange, forever(), lambda _: None, {}, begun=lambda: None))

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()


async def test_choices_of_several_requests_are_numbered_through():
    streams = [stream((TextDelta(number, "a", choice),)) for number in range(2) for choice in range(2)][:2]
    merged = [event async for batch in merge(streams, 2) for event in batch]

    assert sorted((event.request_id, event.choice) for event in merged) == [(0, 0), (0, 3)]


async def test_the_first_failure_ends_all_of_them():
    closed = asyncio.Event()

    async def endless():
        try:
            while True:
                yield (TextDelta(1, "a"),)
                await asyncio.sleep(0)
        finally:
            closed.set()

    with pytest.raises(ZeroDivisionError):
        [batch async for batch in merge([endless(), stream(ZeroDivisionError())], 1)]
    assert closed.is_set()


async def test_one_of_several_that_cancels_itself_leaves_nobody_waiting():
    async with asyncio.timeout(10):
        with pytest.raises(PluginError):
            [
                batch
                async for batch in merge(
                    [checked_stream(asyncio.CancelledError()), checked_stream((Finished(1, "stop"),))], 1
                )
            ]
