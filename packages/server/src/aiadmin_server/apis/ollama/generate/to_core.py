"""Requests for `/api/generate` to core's: pure, and called once a request by `route`."""

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Message, TextPart
from aiadmin_core.specs.request import ChatInput, GenerateRequest, Input, TextInput

from ....http.reading import Decoded
from ....serving.call import Call, Unplaced
from ....serving.sampling import keep_alive_s
from ..asking import constraint_of, effort_of, options_of, unplaced
from ..media import media_parts
from ..options import DEFAULTS, load_options, sampling_of
from . import wire


def generate_call(decoded: Decoded[wire.GenerateBody]) -> Call:
    """Without a prompt, a call that only loads the model. Raises `BadRequest` naming the field that is wrong."""
    data = decoded.data
    options = options_of(data)
    sampling, given = sampling_of(options, logprobs=data.logprobs, top=data.top_logprobs)
    request = GenerateRequest(
        id=0,
        input=_input(data),
        tells_tokens=not data.raw and not data.suffix,
        truncate=data.truncate is not False,
        sampling=sampling,
        constraint=constraint_of(data),
        reasoning_effort=effort_of(data),
    )
    return Call(
        model=data.model,
        requests=(request,) if data.prompt or data.images or data.suffix else (),
        given=given,
        defaults=DEFAULTS,
        must_reason=True,
        names={"messages[0].content": "images", "messages[1].content": "images", "messages": "prompt"},
        keep_alive_s=keep_alive_s(data.keep_alive),
        lora=None if data.lora is None else tuple(data.lora),
        load=load_options(options),
        unplaced=(*_unplaced(data), *unplaced(data)),
        unknown=decoded.unknown,
    )


def _input(data: wire.GenerateBody) -> Input:
    prompt = data.prompt or ""
    if data.raw:
        if data.template or data.system or data.context:
            raise BadRequest("raw mode does not support template, system, or context", param="raw")
        if data.images:
            raise BadRequest("'images' need a template: 'raw' must not be true.", param="images")
    if data.suffix:
        if data.images:
            raise BadRequest("'images' need a template: text is filled in without one.", param="images")
        return TextInput(text=prompt, suffix=data.suffix)
    if data.raw:
        return TextInput(text=prompt)
    system = (Message(role="system", content=(TextPart(data.system),)),) if data.system else ()
    media = media_parts(data.images, "images")
    return ChatInput(
        messages=(*system, Message(role="user", content=(*media, TextPart(prompt)))),
        template=data.template or None,
        context=tuple(data.context or ()),
    )


def _unplaced(data: wire.GenerateBody) -> tuple[Unplaced, ...]:
    """A gap is asked for without a conversation around it."""
    if not data.suffix:
        return ()
    left_out = {"system": data.system, "template": data.template, "context": data.context}
    why = "a gap has no conversation around it."
    return tuple(Unplaced(name=name, value=value, why=why, is_hint=True) for name, value in left_out.items() if value)
