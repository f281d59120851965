"""What a model can do, in the words that clients know. Pure; used by every API that lists models."""

from aiadmin_core.dialects.find import OURS
from aiadmin_core.specs.capabilities import Capabilities
from aiadmin_core.text.infill import infills

from ..routing.outline import Outline


def abilities(able: Capabilities) -> list[str]:
    """What its engine says that it can."""
    if not able.generates:  # the rest of what it says is without meaning
        reads = {"embedding": "embed", "rerank": "score"}
        return [name for name, protocol in reads.items() if protocol in able.protocols]
    found = {
        "completion": bool(able.inputs & {"text", "tokens"}),
        "chat": "chat" in able.inputs,
        "tools": able.tools,
        "thinking": able.reasoning,
        "insert": able.suffix,
        "vision": "image" in able.modalities,
        "audio": "audio" in able.modalities,
        **_whatever_it_is(able),
    }
    return [name for name, has in found.items() if has]


def _whatever_it_is(able: Capabilities) -> dict[str, bool]:
    """What a model that generates can or cannot by its backend."""
    return {
        "embedding": "embed" in able.protocols,
        "json_object": "json_object" in able.constraints,
        "json_schema": "json_schema" in able.constraints,
        "logprobs": able.max_logprobs is not None,
    }


def foretold(outline: Outline) -> list[str]:
    """What a model can as far as its files tell, before an engine says so."""
    template = outline.template
    if outline.embeds or outline.ranks:
        return ["rerank"] if outline.ranks else ["embedding"]
    found = {
        "completion": True,
        "chat": template != "",
        "tools": template != "",
        "thinking": template != "" and any(one.reasoning and one.recognises(template) for one in OURS),
        "insert": outline.fills_gaps or (template != "" and infills(template)),
        "vision": outline.has_projector,
        **_whatever_it_is(outline.able),
    }
    return [name for name, has in found.items() if has]
