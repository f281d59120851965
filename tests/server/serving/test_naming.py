"""Errors about neutral fields, told under the caller's names."""

import pytest

from aiadmin_core.errors import AiAdminError, BadRequest, ContextLengthExceeded, Overloaded, UnsupportedParameter
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.events import Failed, Started
from aiadmin_server.serving.naming import named, naming

NAMES = {"max_tokens": "maxOutputTokens", "messages": "contents", "n": "candidateCount"}


def test_the_field_is_renamed_in_param_and_message():
    error = named(UnsupportedParameter("n", why="this model gives at most 1 for one request."), NAMES)
    assert isinstance(error, UnsupportedParameter)
    assert error.param == "candidateCount"
    assert str(error) == "Unsupported parameter: 'candidateCount': this model gives at most 1 for one request."
    assert error.args == (error.message,)


def test_the_head_of_a_path_is_renamed_and_the_rest_stays():
    error = named(BadRequest("'messages[2].content[0]' is no image.", param="messages[2].content[0]"), NAMES)
    assert (error.param, error.message) == ("contents[2].content[0]", "'contents[2].content[0]' is no image.")


def test_the_longest_path_that_has_a_name_is_renamed():
    names = {"tools": "wrong", "tools[1]": "functions[1]", "tools[1].parameters": "tools[1].custom.format"}
    assert named(UnsupportedParameter("tools[1].strict"), names).param == "functions[1].strict"
    assert named(UnsupportedParameter("tools[1].parameters"), names).param == "tools[1].custom.format"
    assert named(UnsupportedParameter("tools[10].strict"), names).param == "wrong[10].strict"


def test_what_an_error_knows_besides_is_kept():
    error = named(ContextLengthExceeded(n_prompt=9, n_ctx=8), NAMES)
    assert (error.param, error.n_prompt, error.n_ctx, error.status) == ("contents", 9, 8, 400)


@pytest.mark.parametrize("error", [Overloaded("Full."), BadRequest("No.", param="seed"), BadRequest("No.")])
def test_other_errors_are_the_same_objects(error):
    assert named(error, NAMES) is error


def test_an_error_that_somebody_else_keeps_is_not_changed():
    kept = BadRequest("'n' is wrong.", param="n")
    cause = ZeroDivisionError()
    with pytest.raises(BadRequest) as caught, naming(NAMES):
        raise kept from cause
    assert caught.value.param == "candidateCount"
    assert caught.value.__cause__ is cause
    assert (kept.param, kept.message) == ("n", "'n' is wrong.")


def test_a_field_that_was_passed_on_has_its_name_already():
    with pytest.raises(AiAdminError) as caught, naming(NAMES, own={"n"}):
        raise BadRequest("No.", param="n")
    assert caught.value.param == "n"


async def test_an_engine_s_complaint_has_the_name_that_the_client_used(serve):
    """The same limit has two names in a chat, and a format another name than in core."""

    async def refusing(request):
        yield Failed(request.id, "'max_tokens' is too many.", code="invalid_value", status=400, param="max_tokens")
        yield Started(request.id, 1)

    async with serve(script=refusing) as server:
        new = (await server.chat(max_completion_tokens=5)).json()["error"]
        assert (new["param"], new["message"]) == ("max_completion_tokens", "'max_completion_tokens' is too many.")
        assert (await server.chat(max_tokens=5)).json()["error"]["param"] == "max_tokens"
        assert (await server.complete(max_tokens=5)).json()["error"]["param"] == "max_tokens"
    async with serve(capabilities=Capabilities(), ignore_unknown_fields=False) as server:
        refused = (await server.chat(response_format={"type": "json_object"})).json()["error"]
        assert refused["param"] == "response_format"
        assert "'response_format'" in refused["message"]
        unknown = (await server.chat(constraint={})).json()["error"]
        assert unknown["param"] == "constraint"
