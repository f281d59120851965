"""What a folder of safetensors says about itself: config.json and the headers of the weight files, nothing loaded.

The format: https://github.com/huggingface/safetensors#format
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from math import isfinite, prod
from pathlib import Path
from typing import Any

from aiadmin_core.backend import ModelInfo
from aiadmin_core.errors import BadRequest
from aiadmin_core.safetensors import read_header

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "model_max_length")
_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")
_SCALED_ALREADY = ("su", "longrope", "llama3", "mrope", "default", None)
_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repetition_penalty": "repeat_penalty",
}
_WIDTH_KEYS = ("hidden_size", "n_embd", "d_model", "dim")


def is_model_folder(folder: Path) -> bool:
    """Whether `folder` holds a config.json and at least one safetensors file."""
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def read_folder(folder: Path) -> ModelInfo:
    """The facts of the model in `folder`. Raises `BadRequest` where a file of it is broken, or one is missing."""
    config = read_json(folder / "config.json")
    _check_complete(folder)
    language = language_config(config)
    tensors: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(read_header(path))
    quantization = config.get("quantization") or config.get("quantization_config") or {}
    return ModelInfo(
        format="safetensors",
        architecture=str(config.get("model_type", "")),
        n_params=count_params(tensors, quantization),
        n_ctx_train=trained_context(language),
        n_embd=_first_int(language, _WIDTH_KEYS),
        quantization=name_quantization(tensors, quantization),
        chat_template=read_chat_template(folder),
        metadata=config,
        parameters=read_sampling(folder),
    )


def read_sampling(folder: Path) -> dict[str, Any]:
    """How the model's makers recommend to sample: generation_config.json by the names of `SamplingParams`, as vLLM
    reads it. What is no number counts as absent, as a file that cannot be read does: it is a recommendation.

    https://huggingface.co/docs/transformers/main_classes/text_generation#transformers.GenerationConfig
    """
    try:
        config = read_json(folder / "generation_config.json")
    except BadRequest:
        return {}
    found = {
        name: value
        for key, name in _SAMPLING.items()
        if isinstance(value := config.get(key), int | float) and not isinstance(value, bool) and isfinite(value)
    }
    return found | {"temperature": 0.0} if config.get("do_sample") is False else found


def language_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config.json that is about text, where there are others."""
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def trained_context(language: Mapping[str, Any]) -> int:
    """The positions it was made for; 0 where that is not said.

    `rope_scaling` of most types multiplies what `max_position_embeddings` (or its own word for it) says; the types in
    `_SCALED_ALREADY` are written with the product there. As vLLM reads it: vllm/config/model.py, 0.11.
    """
    trained = _first_int(language, _CONTEXT_KEYS)
    scaling = language.get("rope_scaling")
    if not isinstance(scaling, dict):
        return trained
    factor, kind = scaling.get("factor"), scaling.get("rope_type", scaling.get("type"))
    if kind in _SCALED_ALREADY or isinstance(factor, bool) or not isinstance(factor, int | float) or not factor >= 1:
        return trained
    original = scaling.get("original_max_position_embeddings")
    return max(trained, int((original if isinstance(original, int) else trained) * factor))


def read_chat_template(folder: Path) -> str | None:
    """The default chat template of chat_template.jinja or tokenizer_config.json, where there is one."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    for name in ("tokenizer_config.json", "chat_template.json"):
        if not (folder / name).is_file():
            continue
        template = read_json(folder / name).get("chat_template")
        if isinstance(template, list):  # several named templates
            named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
            template = named.get("default")
        if isinstance(template, str):
            return template
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file. Raises `BadRequest` for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path} cannot be read: {error}.", hint="Fetch the model's files again.") from error
    if not isinstance(value, dict):
        raise BadRequest(f"{path} holds no JSON object.", hint="Fetch the model's files again.")
    return value


def _check_complete(folder: Path) -> None:
    """Raise `BadRequest` where a weight file is missing: one that the index names, or that the others' names count."""
    present = {path.name for path in folder.glob("*.safetensors")}
    named: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        weight_map = read_json(index).get("weight_map")
        named |= {name for name in (weight_map if isinstance(weight_map, dict) else {}).values() if _is_name(name)}
    for split in filter(None, map(_SPLIT.fullmatch, present)):
        named |= {f"{split[1]}-{part:05}-of-{split[3]}.safetensors" for part in range(1, min(int(split[3]), 9999) + 1)}
    if missing := sorted(named - present):
        raise BadRequest(
            f"{len(missing)} of the weight files of '{folder.name}' are missing: {', '.join(missing[:3])}.",
            hint="Put all of them into the folder.",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.endswith(".safetensors")


def count_params(tensors: Mapping[str, Any], quantization: Mapping[str, Any]) -> int:
    """Parameters in `tensors`; a uint32 of a quantised matrix packs 32 / bits of them, scales and biases are none."""
    packed = 32 // bits if isinstance(bits := quantization.get("bits"), int) and 0 < bits <= 32 else 1
    n_params = 0
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        if kind in ("scales", "biases") and f"{stem}.weight" in tensors:
            continue
        n_params += prod(tensor["shape"]) * (packed if tensor["dtype"] == "U32" else 1)
    return n_params


def name_quantization(tensors: Mapping[str, Any], quantization: Mapping[str, Any]) -> str:
    """ "4-bit" for MLX's own, the method's name for others ("awq"), else the dtype that most parameters have."""
    if isinstance(bits := quantization.get("bits"), int):
        method = quantization.get("quant_method") or quantization.get("mode", "affine")
        return f"{bits}-bit" if method == "affine" else f"{method} {bits}-bit"
    if method := quantization.get("quant_method"):
        return str(method)
    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor["dtype"]] += prod(tensor["shape"])
    return sizes.most_common(1)[0][0] if sizes else ""


def _first_int(config: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), 0)
