"""A sampling parameter is declared in one place, and known everywhere."""

import subprocess
import sys

import pytest

DECLARE = """
import msgspec
from typing import Annotated
from aiadmin_core.specs import sampling

class SamplingParams(sampling.SamplingParams, frozen=True, kw_only=True, omit_defaults=True):
    whimsy: Annotated[float, msgspec.Meta(ge=0, le=3, description="How whimsical the next token is.")] = 0.5

sampling.SamplingParams = SamplingParams  # as if it had been declared there; nothing has imported it yet
"""

CHECKS = {
    "a request has it, with its range": """
from aiadmin_core.errors import BadRequest
from aiadmin_server.apis.openai.chat.to_core import chat_call
from aiadmin_server.apis.openai.chat.wire import ChatCompletionRequest
from aiadmin_server.apis.openai.completions.wire import CompletionRequest
from aiadmin_server.http.reading import decode
body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "whimsy": %s}'
call = chat_call(decode(body % b"2.5", ChatCompletionRequest))
assert call.requests[0].sampling.whimsy == 2.5
assert "whimsy" in call.given and not call.unknown
try:
    chat_call(decode(body % b"4", ChatCompletionRequest))
except BadRequest as error:
    assert (error.param, error.message) == ("whimsy", "'whimsy' must be between 0 and 3, not 4.0.")
else:
    raise AssertionError("out of range, and taken")
schema = msgspec.json.schema_components([CompletionRequest])[1]["CompletionRequest"]["properties"]["whimsy"]
assert (schema["minimum"], schema["maximum"]) == (0, 3) and "whimsical" in schema["description"]
""",
    "an engine that does not compute it refuses it by name": """
from aiadmin_core.refuse import unsupported
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_core.sampling.choice import SUPPORTED
able = Capabilities(inputs=frozenset({"text"}), sampling=SUPPORTED)
asked = GenerateRequest(id=1, input=TextInput(text="x"), sampling=SamplingParams(whimsy=1.0))
assert unsupported(asked, able).param == "whimsy"
""",
    "a model's own defaults may set it": """
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_server.serving.settle import own_sampling
able = Capabilities(sampling=frozenset({"whimsy"}))
assert own_sampling({"whimsy": 2, "top_p": 0.5}, able) == {"whimsy": 2.0}
assert own_sampling({"whimsy": 9}, able) == {}
""",
    "the chat on the terminal sets it": """
from aiadmin_server.cli._commands import HELP, change
from aiadmin_server.cli._conversation import Conversation
chat = Conversation("m")
assert change(chat, "whimsy", "1.5") == "whimsy = 1.5" and chat.options == {"whimsy": 1.5}
assert "cannot be" in change(chat, "whimsy", "very") and "whimsy" in HELP
""",
    "another server is sent it": """
from aiadmin_core.specs.request import GenerateRequest, TextInput
from aiadmin_openai.request import to_openai
asked = GenerateRequest(id=1, input=TextInput(text="x"), sampling=SamplingParams(whimsy=1.0))
assert to_openai(asked, model="m")[1]["whimsy"] == 1.0
""",
    "it crosses to the runner": """
from aiadmin_core.specs.request import GenerateRequest, TextInput
asked = GenerateRequest(id=1, input=TextInput(text="x"), sampling=SamplingParams(whimsy=1.0))
assert msgspec.msgpack.decode(msgspec.msgpack.encode(asked), type=GenerateRequest) == asked
""",
}


@pytest.mark.parametrize("code", CHECKS.values(), ids=CHECKS)
def test_a_parameter_that_is_declared_is_known_where(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", DECLARE + code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
