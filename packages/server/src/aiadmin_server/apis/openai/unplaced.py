"""OpenAI's fields that core has no place for: which values ask for nothing, and why others are refused."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct, to_builtins

from ...serving.call import Unplaced

# Fields without a place in core, and whether a value of theirs asks for nothing that is not done anyway.
_HARMLESS: dict[str, Callable[[Any], bool]] = {
    "metadata": lambda _: True,
    "modalities": lambda value: value == ["text"],
    "prompt_cache_options": lambda value: value.get("ttl") is None,
    "prompt_cache_retention": lambda value: value != "24h",
    "safety_identifier": lambda _: True,
    "service_tier": lambda value: value in ("auto", "default"),
    "store": lambda value: value is False,
    "user": lambda _: True,
    "verbosity": lambda value: value == "medium",
    "add_generation_prompt": lambda _: True,  # these have a place, and others' servers want them as they came
    "continue_final_message": lambda _: True,
    "truncation": lambda _: True,
    "prediction": lambda _: True,
    "prompt_cache_key": lambda _: True,
    "audio": lambda _: False,
    "moderation": lambda _: False,
    "web_search_options": lambda _: False,
}
_WHY: dict[str, str] = {
    "modalities": "answers are text.",
    "prompt_cache_options": "cached prefixes are kept as long as there is room.",
    "prompt_cache_retention": "cached prefixes are kept as long as there is room.",
    "service_tier": "there is one tier; 'priority' (a number) orders requests.",
    "store": "chat completions are not stored.",
    "verbosity": "say it in the prompt.",
}
"""What is said when one of them is refused."""


_HINTS = frozenset({"verbosity"})
"""The answer is as right without them."""


def unplaced(data: Struct) -> tuple[Unplaced, ...]:
    """Those that `data` has."""
    found = ((name, to_builtins(getattr(data, name, None))) for name in _HARMLESS)
    return tuple(
        Unplaced(
            name=name,
            value=value,
            why="" if _HARMLESS[name](value) else _WHY.get(name, "it is not supported."),
            is_hint=name in _HINTS,
        )
        for name, value in found
        if value is not None
    )
