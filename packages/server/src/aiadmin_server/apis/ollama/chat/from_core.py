"""Core's events to lines of `/api/chat`: pure but for the time, one object for each response."""

from msgspec import UNSET

from aiadmin_core.specs import events as core

from ..answering import NativeWriter, Piece, arguments_of, logprobs_of, now
from . import wire


class ChatWriter(NativeWriter):
    """Messages of the assistant."""

    def line(self, piece: Piece) -> wire.ChatLine:
        return wire.ChatLine(
            model=self.model,
            created_at=now(),
            message=wire.NativeMessage(
                content=piece.text,
                thinking=piece.thinking or UNSET,
                tool_calls=[_call(call) for call in piece.calls] or UNSET,
            ),
            logprobs=logprobs_of(piece.logprobs),
            done=piece.end is not None,
            **(piece.end or {}),
        )


def _call(call: core.ToolCallDelta) -> wire.NativeToolCall:
    function = wire.ToolFunction(index=call.index, name=call.name or "", arguments=arguments_of(call) or {})
    return wire.NativeToolCall(id=call.id or f"call_{call.index}", function=function)
