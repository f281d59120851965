"""Cohere's v2 chat, text only: its words, the way to core's and back, and how it tells an error."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from litestar import Request, post
from msgspec import Meta, Struct

from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.events import Event, Finished, TextDelta
from aiadmin_core.specs.request import ChatInput, GenerateRequest
from aiadmin_server.apis import writing as server

NAMES = {"top_p": "p", "top_k": "k", "stop": "stop_sequences"}
REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS"}


class Turn(Struct):
    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(Struct, rename=NAMES):
    model: str
    messages: Annotated[list[Turn], Meta(min_length=1)]
    stream: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None


def to_core(decoded: server.Decoded[ChatRequest]) -> server.Call:
    data = decoded.data
    turns = tuple(Message(role=turn.role, content=(TextPart(turn.content),)) for turn in data.messages)
    names = (*NAMES, "max_tokens", "temperature", "seed")
    sampling, given = server.sampled({name: getattr(data, name) for name in names}, NAMES)
    request = GenerateRequest(id=0, input=ChatInput(messages=turns), sampling=sampling)
    return server.Call(model=data.model, requests=(request,), given=given, unknown=decoded.unknown)


class Writer(server.ChunkWriter):
    def frame(self, chunk: Any) -> bytes:
        return server.sse.frame(chunk, event=chunk.get("type", "error"))  # the envelope of an error has no type

    def first(self) -> Iterator[dict[str, Any]]:
        yield {"type": "message-start", "delta": {"message": {"role": "assistant"}}}

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        if isinstance(event, TextDelta):
            yield {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": event.text}}}}
        elif isinstance(event, Finished):
            yield {"type": "content-end", "index": 0}
            yield {"type": "message-end", "delta": {"finish_reason": REASONS.get(event.reason, "ERROR")}}

    def whole(self, events: Sequence[Event]) -> dict[str, Any]:
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        reason = next(REASONS.get(event.reason, "ERROR") for event in events if isinstance(event, Finished))
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        return {"finish_reason": reason, "message": message}


def envelope(problem: server.Problem) -> dict[str, str]:
    return {"message": problem.message}


@post("/v2/chat", status_code=200, opt=server.described(ChatRequest, dict[str, Any], event=dict[str, Any]))
async def chat(request: Request[Any, Any, Any], service: server.ServiceDependency) -> server.Answer:
    data, call = await server.read_as(request, ChatRequest, to_core)
    return server.Answer(service, call, Writer(), stream=data.stream)


API = server.Api(name="cohere", title="Cohere's API", paths=("/v2",), routes=(chat,), envelope=envelope, names=NAMES)
