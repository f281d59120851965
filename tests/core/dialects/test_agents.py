"""The tools of real coding agents: dozens, compiled together, in no time a user would notice."""

import json
import time

from llguidance import LLMatcher

from aiadmin_core.constraint.answer import to_grammar
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.dialects.find import OURS, find_speech
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ToolChoice
from aiadmin_core.testing.fake import ByteTokenizer
from aiadmin_core.text.chat_template import ChatTemplate


def tools_of(request):
    body = request.get("body", request)
    for entry in body.get("tools") or ():
        function = entry.get("function", entry)
        if function.get("name"):
            parameters = function.get("parameters") or function.get("input_schema")
            yield Tool(name=function["name"], description=function.get("description") or "", parameters=parameters)


def test_all_tools_of_a_request_compile_together(shared_data):
    vocabulary = ByteTokenizer().constraint_vocabulary()
    templates = [shared_data / "chat_templates" / f"{name}.jinja" for name in ("Qwen-Qwen3-0.6B", "Qwen3.5-4B")]
    dialects = [find_speech(ChatTemplate(path.read_text(encoding="utf-8")), OURS).calls for path in templates]
    n_compiled = 0
    for path in sorted((shared_data / "agents").glob("*.json")):
        tools = list(tools_of(json.loads(path.read_text(encoding="utf-8"))))
        for dialect in dialects if tools else ():
            started = time.process_time()
            grammar = dialect.call_grammar(tools, ToolChoice(), {})
            state = LLMatcher(vocabulary, to_grammar(AnswerShape(calls=grammar), None, {}), log_level=0)
            state.compute_bitmask()

            assert not state.is_error(), (path.name, state.get_error())
            assert time.process_time() - started < 0.2
            n_compiled += 1
    assert n_compiled >= 12
