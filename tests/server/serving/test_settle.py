"""What a call becomes once its engine is known."""

import pytest
from msgspec.structs import replace

from aiadmin_core.errors import BadRequest, UnsupportedParameter
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_core.specs.sampling import SamplingParams
from aiadmin_server.serving.call import Call, Unplaced
from aiadmin_server.serving.settle import own_sampling, owned, settle

ABLE = Capabilities(inputs=frozenset({"text"}), sampling=frozenset({"temperature", "top_k"}))


def call(sampling=None, **fields) -> Call:
    one = GenerateRequest(id=0, input=TextInput(text="hi"), sampling=sampling or SamplingParams())
    return Call(model="m", requests=(one,), **fields)


def settled(one, able=ABLE, *, defaults=None, ignore_unknown=False):
    return settle(one, able, defaults=defaults or {}, ignore_unknown=ignore_unknown)


def test_the_model_s_own_defaults_fill_what_the_client_left_open():
    one = call(SamplingParams(temperature=0.2), given=frozenset({"temperature"}))
    (request,), _ = settled(one, defaults={"temperature": 0.9, "top_k": 40, "num_predict": 7, "num_ctx": 2048})
    assert request.sampling == SamplingParams(temperature=0.2, top_k=40, max_tokens=7)


def test_defaults_the_engine_lacks_or_that_make_no_sense_are_no_error():
    assert own_sampling({"top_p": 0.5, "temperature": "hot", "top_k": -3, "stop": ["x"], "num_predict": -1}, ABLE) == {}


def test_unknown_fields_are_refused_dropped_or_passed_on():
    one = call(unknown={"foo": 1, "messages[0].bar": 2})
    with pytest.raises(UnsupportedParameter) as caught:
        settled(one)
    assert caught.value.param == "foo"
    assert "messages[0].bar" in caught.value.message
    assert settled(one, ignore_unknown=True)[1] == ("foo", "messages[0].bar")
    forwarding = Capabilities(inputs=frozenset({"text"}), forwards_unknown=True)
    (request,), ignored = settled(one, forwarding, ignore_unknown=True)
    assert request.extra == {"foo": 1}
    assert ignored == ("messages[0].bar",)
    with pytest.raises(UnsupportedParameter):
        settled(one, forwarding)


def test_a_prediction_is_left_out_and_named_where_nothing_is_guessed():
    one = call()
    one = replace(one, requests=(replace(one.requests[0], prediction="hi there"),))

    (request,), ignored = settled(one)
    assert (request.prediction, ignored) == ("", ("prediction",))
    (request,), ignored = settled(one, replace(ABLE, predictions=True))
    assert (request.prediction, ignored) == ("hi there", ())


def test_a_prediction_is_passed_on_as_it_came():
    sent = {"type": "content", "content": "hi there"}
    one = call(unplaced=(Unplaced(name="prediction", value=sent),))
    one = replace(one, requests=(replace(one.requests[0], prediction="hi there"),))

    (request,), ignored = settled(one, replace(ABLE, forwards_unknown=True))

    assert (request.prediction, request.extra, ignored) == ("", {"prediction": sent}, ())


def test_a_number_that_the_runner_cannot_be_sent_is_named():
    with pytest.raises(BadRequest) as caught:
        settled(call(unknown={"foo": {"bar": [10**30]}}), Capabilities(forwards_unknown=True))
    assert caught.value.param == "foo.bar[0]"


def test_known_fields_without_a_place_are_refused_even_where_unknown_ones_are_dropped():
    with pytest.raises(UnsupportedParameter) as caught:
        settled(call(unplaced=(Unplaced(name="store", value=True, why="not here."),)), ignore_unknown=True)
    assert caught.value.param == "store"


def test_fields_without_effect_here_are_passed_on_to_an_engine_that_forwards():
    """An upstream keeps its books by `user` and caches by `prompt_cache_key`; here they ask an engine for nothing."""
    fields = {"user": "me", "metadata": {"a": "b"}, "prompt_cache_key": "k", "safety_identifier": "s", "store": False}
    one = call(unplaced=tuple(Unplaced(name=name, value=value) for name, value in fields.items()))
    (request,), ignored = settled(one)
    assert (request.extra, ignored) == ({}, ())
    (request,), ignored = settled(one, Capabilities(inputs=frozenset({"text"}), forwards_unknown=True))
    assert (request.extra, ignored) == (fields, ())


def request(**fields) -> GenerateRequest:
    return GenerateRequest(id=0, input=TextInput(text="hi"), **fields)


def test_callers_share_prefixes_with_themselves_only():
    salts = [
        owned(request(cache_salt=salt), identity, ABLE).cache_salt
        for identity in (None, "alice", "bob", 'alice","x')
        for salt in ("", "x", 'x"]', '["alice",""]')
    ]

    assert len(set(salts)) == len(salts), "whatever anybody writes"
    assert salts[0] == "", "nobody, and nothing asked for"
    assert owned(request(), "alice", ABLE) == owned(request(), "alice", ABLE)
    assert "alice" not in owned(request(), "alice", ABLE).cache_salt


def test_another_servers_cache_is_not_divided():
    forwarding = Capabilities(forwards_unknown=True)

    assert owned(request(), "alice", forwarding).cache_salt == ""
    assert owned(request(cache_salt="mine"), "alice", forwarding).cache_salt == "mine"


@pytest.mark.parametrize(("asked", "given"), [(5, 0), (0, 0), (-5, -5)])
def test_a_known_caller_may_stand_back_and_not_go_ahead(asked, given):
    assert owned(request(priority=asked), "alice", ABLE).priority == given
    assert owned(request(priority=asked), None, ABLE).priority == given


def test_an_api_s_own_defaults_come_after_the_model_s_and_ask_no_engine_for_what_it_lacks():
    one = call(SamplingParams(temperature=0.2), given=frozenset({"temperature"}))
    one = replace(one, defaults={"temperature": 0.8, "top_k": 40, "top_p": 0.9})
    assert settled(one)[0][0].sampling == SamplingParams(temperature=0.2, top_k=40)
    assert settled(one, defaults={"top_k": 7})[0][0].sampling.top_k == 7


def test_reasoning_that_was_asked_for_in_earnest_is_refused_where_there_is_none():
    asked = GenerateRequest(id=0, input=TextInput(text="hi"), reasoning_effort="medium")
    one = Call(model="m", requests=(asked,), must_reason=True)
    with pytest.raises(UnsupportedParameter):
        settled(one)
    assert settled(replace(one, must_reason=False))[1] == ("reasoning_effort",)
    none = Call(model="m", requests=(replace(asked, reasoning_effort="none"),), must_reason=True)
    assert settled(none)[0][0].reasoning_effort is None
