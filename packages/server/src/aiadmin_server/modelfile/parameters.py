"""What a model's parameters may be: names, types and ranges, from text as a Modelfile has it and from JSON. Pure.

The names are Ollama's, and ours. Sampling is declared in `SamplingParams`, what opens a model in `LoadParams`; here are
those whose values Ollama takes otherwise, and hints that are kept and have no effect, so that a Modelfile means the
same elsewhere.
"""

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.loading import LoadParams, load_parameters
from aiadmin_core.specs.model import RopeScaling
from aiadmin_core.specs.sampling import MAX_INT, SamplingParams, parameters


class Other(Struct, frozen=True, kw_only=True):
    """Parameters that are read as Ollama reads them."""

    num_predict: int = -1
    num_ctx: int = 0
    num_batch: int = 0
    num_thread: int = 0
    num_gpu: int = -1
    rope_scaling: RopeScaling = "none"

    # No effect: the backend decides about it, or there is nothing to decide.
    draft_num_predict: int = 0
    f16_kv: bool = False
    logits_all: bool = False
    low_vram: bool = False
    main_gpu: int = 0
    num_gqa: int = 0
    num_keep: int = 0
    numa: bool = False
    penalize_newline: bool = True
    rope_frequency_base: float = 0
    rope_frequency_scale: float = 0
    tfs_z: float = 1
    use_mlock: bool = False
    use_mmap: bool = True
    vocab_only: bool = False


OF_REQUESTS = frozenset({"logprobs", "logit_bias", "max_tokens"})
"""Fields of `SamplingParams` that are no model's default, or have another name there."""
SAMPLING = tuple(name for name in parameters() if name not in OF_REQUESTS)
OPENING = tuple(name for name in load_parameters() if name not in Other.__struct_fields__)
NAMES = (*SAMPLING, *OPENING, *Other.__struct_fields__)
_OPEN = {"seed": -1, "top_k": 0}
"""What -1 is here: another seed for each request, which no seed means; all tokens."""
_LEAST = {"num_ctx": 0, "num_batch": 0, "num_thread": 0, "num_gpu": -1}


def parameter(name: str, text: str) -> Any:
    """The value that `text` is for the parameter `name`. Several `stop`s may be one JSON list. Raises `BadRequest`."""
    check_name(name)
    if name == "stop":
        return _stops(text)
    return _converted(name, text, strict=False)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters from JSON, each as it should be. Raises `BadRequest`."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        check_name(name)
        if name == "stop":
            texts = [value] if isinstance(value, str) else value
            if not isinstance(texts, list | tuple) or not all(isinstance(one, str) and one for one in texts):
                raise _refused(name, value, "it is a text, or a list of texts")
            found[name] = list(texts)
        elif value is not None:
            found[name] = _converted(name, value, strict=isinstance(value, bool | list | dict))
    return found


def check_name(name: str) -> None:
    """Raises `BadRequest` for a parameter there is none of, with names that are near."""
    if name in NAMES:
        return
    near = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.6)
    raise BadRequest(
        f"There is no parameter '{name[:80]}'.",
        hint=f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(sorted(NAMES))}.",
        param=f"parameters.{name[:80]}",
    )


def _converted(name: str, value: Any, *, strict: bool) -> Any:
    kind = SamplingParams if name in SAMPLING else LoadParams if name in OPENING else Other
    if name in _OPEN and str(value) == "-1":
        return _OPEN[name]
    try:
        converted = getattr(msgspec.convert({name: value}, kind, strict=strict), name)
    except msgspec.ValidationError as error:
        raise _refused(name, value, _wanted(error)) from None
    if not isinstance(converted, bool) and isinstance(converted, int | float):
        least = _LEAST.get(name, -MAX_INT)
        if not least <= converted <= MAX_INT * (2**32 if name == "seed" else 1):
            raise _refused(name, value, f"it lies between {least} and {MAX_INT}")
    return msgspec.to_builtins(converted)


def _stops(text: str) -> list[str]:
    if not text:
        raise BadRequest("'stop' must not be an empty text.", param="parameters.stop")
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, RecursionError):
        return [text]


def _refused(name: str, value: Any, wanted: str) -> BadRequest:
    shown = str(value)[:60]
    return BadRequest(f"The parameter '{name}' cannot be '{shown}': {wanted}.", param=f"parameters.{name}")


def _wanted(error: msgspec.ValidationError) -> str:
    text = str(error).partition(" - at")[0].partition(", got")[0].replace("`", "").removeprefix("Expected ")
    for kind, words in (("float", "a number"), ("int", "a whole number"), ("bool", "true or false")):
        text = text.replace(kind, words, 1) if text.startswith(kind) else text
    return f"it should be {text}"
