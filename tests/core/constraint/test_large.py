"""Schemas of thousands of values: they cost whoever sent them, not the streams beside."""

import asyncio
import json
import time

from aiadmin_core.assemble import assemble
from aiadmin_core.constraint.compiler import ConstraintCompiler
from aiadmin_core.constraint.shape import AnswerShape
from aiadmin_core.specs.constraint import JsonSchema
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import TextDelta
from aiadmin_core.specs.model import ModelSpec
from aiadmin_core.specs.request import ChatInput, GenerateRequest
from aiadmin_core.testing.fake import ByteTokenizer, FakeTokenEngine, says

VALUES = [f"{n * 7919 % 100_003:05} is a value of which there are many" for n in range(3000)]
SCHEMA = {"type": "object", "properties": {"value": {"enum": VALUES}}, "required": ["value"]}
MODEL = ModelSpec(name="fake", digest="", format="other", files=())
ANSWER = json.dumps({"value": VALUES[1234]})


def request(id):
    chat = ChatInput(messages=(Message(role="user", content=(TextPart("hi"),)),))
    return GenerateRequest(id=id, input=chat, constraint=JsonSchema(schema=SCHEMA))


def test_thousands_of_values_are_compiled_beside_the_event_loop_and_once():
    """What the loop does itself is small beside compiling, and the same again costs next to nothing."""
    started = time.thread_time()
    ConstraintCompiler(ByteTokenizer()).matchers(AnswerShape(format=JsonSchema(schema=SCHEMA)), 1)
    compiling_s = time.thread_time() - started

    async def main():
        engine = assemble(FakeTokenEngine(script=says(ANSWER)), MODEL)
        try:
            before = time.thread_time()
            stream = engine.generate(request(1))
            first = await anext(stream)  # the prompt is read: everything is compiled
            on_the_loop_s = time.thread_time() - before
            text = "".join([event.text async for event in stream if isinstance(event, TextDelta)])
            return on_the_loop_s, first, text
        finally:
            await engine.close()

    on_the_loop_s, _, text = asyncio.run(main())
    assert json.loads(text)["value"] == VALUES[1234]
    assert on_the_loop_s < compiling_s / 3
