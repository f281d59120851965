"""Fields that are not OpenAI's and that other servers of OpenAI's API give a meaning. Pure; used by `to_core`.

Whoever sends one of these expects another answer than without it, so it is honoured (the fields of `Extensions`) or
refused by name (`MEANINGFUL`), unless its value asks for nothing. Every other field that nobody knows is left out of
the request and named in the answer's headers.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.constraint import Choice, Constraint, JsonObject, JsonSchema, LarkGrammar, Regex
from aiadmin_core.specs.model import EngineOptions
from aiadmin_core.specs.request import NamedAdapter
from aiadmin_core.specs.sampling import MAX_INT

from ...serving.call import Unplaced, portable
from ...serving.sampling import SamplingFields
from .sampling import SHARED_RANGES


class StructuredOutputs(Struct, frozen=True, kw_only=True):
    """vLLM's `structured_outputs`: one of its fields."""

    json: dict[str, Any] | bool | str | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


_PENALTY_RANGE = {"minimum": SHARED_RANGES["repetition_penalty"][0], "maximum": SHARED_RANGES["repetition_penalty"][1]}


class Extensions(SamplingFields, frozen=True, kw_only=True):
    """What a generating endpoint takes besides OpenAI's fields. Its requests inherit it, and all fields of sampling."""

    grammar: str | None = None
    """A Lark grammar in llguidance's dialect."""
    regex: str | None = None
    json_schema: dict[str, Any] | None = None
    """llama.cpp's name for a schema without more."""
    structured_outputs: StructuredOutputs | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    repetition_penalty: Annotated[float | None, Meta(extra_json_schema=_PENALTY_RANGE)] = None
    """vLLM's `repeat_penalty`, which looks back on the whole context."""
    speculation: bool | None = None
    """false: no tokens are guessed."""
    lora: list[NamedAdapter] | None = None
    """LoRA adapters to apply, by the models that were made with them; an empty list applies none of the model's own."""
    num_ctx: Annotated[int | None, Meta(extra_json_schema={"minimum": 1, "maximum": MAX_INT})] = None
    """Context to open the model with: one that is open with another is opened once more."""


def constraint_of(data: Extensions) -> tuple[Constraint, str] | None:
    """What the answer must look like, and the field that says so. Raises `BadRequest` where two fields do."""
    outputs = data.structured_outputs or StructuredOutputs()
    named: dict[str, Any] = {
        "grammar": data.grammar,
        "regex": data.regex,
        "json_schema": data.json_schema,
        "guided_choice": data.guided_choice,
        "guided_grammar": data.guided_grammar,
        "guided_json": data.guided_json,
        "guided_regex": data.guided_regex,
        "structured_outputs.choice": outputs.choice,
        "structured_outputs.grammar": outputs.grammar,
        "structured_outputs.json": outputs.json,
        "structured_outputs.json_object": outputs.json_object or None,
        "structured_outputs.regex": outputs.regex,
    }
    given = [(name, value) for name, value in named.items() if value is not None and value != ""]
    if len(given) > 1:
        raise BadRequest(
            f"'{given[0][0]}' and '{given[1][0]}' both say what the answer must look like.",
            hint="Send one of them.",
            param=given[1][0],
        )
    return next(((_constraint(name, value), name) for name, value in given), None)


def load_options(data: Extensions) -> EngineOptions | None:
    """How the model is to be opened, where the request says. Raises `BadRequest`."""
    if data.num_ctx is None:
        return None
    if not 1 <= data.num_ctx <= MAX_INT:
        raise BadRequest(f"'num_ctx' must be between 1 and {MAX_INT}, not {data.num_ctx}.", param="num_ctx")
    return EngineOptions(n_ctx=data.num_ctx)


def adapters(data: Extensions) -> tuple[NamedAdapter, ...] | None:
    """The adapters to apply, where the request says."""
    return None if data.lora is None else tuple(data.lora)


def told_apart(unknown: Mapping[str, Any]) -> tuple[tuple[Unplaced, ...], dict[str, Any]]:
    """Unknown fields that ask for something we know of and do not have, and those that are left out."""
    meant = {name: MEANINGFUL[name] for name in unknown if name in MEANINGFUL}
    asked = tuple(
        Unplaced(name=name, value=unknown[name], why=meaning.why)
        for name, meaning in meant.items()
        if not meaning.asks_nothing(unknown[name])
    )
    return asked, {name: value for name, value in unknown.items() if name not in meant}


def _constraint(name: str, value: Any) -> Constraint:
    match name.rpartition(".")[2].removeprefix("guided_"):
        case "grammar":
            return LarkGrammar(value)
        case "regex":
            return Regex(value)
        case "choice":
            if not value or "" in value:
                raise BadRequest(f"'{name}' must hold at least one text, and no empty one.", param=name)
            return Choice(tuple(value))
        case "json_object":
            return JsonObject()
    return JsonSchema(schema=_schema(name, value))


def _schema(name: str, value: Any) -> dict[str, Any] | bool:
    """A schema, as it is or as JSON text: vLLM takes both."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise BadRequest(f"'{name}' is no JSON: {error}.", param=name) from None
    if not isinstance(value, dict | bool):
        raise BadRequest(f"'{name}' must be a JSON schema: an object.", param=name)
    portable(value, name)
    return value


class _Meaning(Struct, frozen=True):
    why: str
    """What is said when it is refused."""
    nothing: tuple[Any, ...] = (False, 0)
    """Values that ask for nothing that is not done anyway, besides what is empty. Where they are named, false and 0
    are not among them by themselves: `do_sample: false` asks for something."""

    def asks_nothing(self, value: Any) -> bool:
        if isinstance(value, bool | int | float):
            return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.nothing)
        return not value or value in self.nothing


_OPEN = "it is set where the model is opened: `aiadmin set MODEL`, or an alias."
_FORMAT = "send 'response_format', 'regex' or 'grammar'."
_PENALTY = "there are 'frequency_penalty', 'presence_penalty' and 'repeat_penalty'."
_SAMPLER = "no engine here has this sampler."
_BEAMS = "there is no beam search."
_ROUTING = "aliases with `--fallback` do this."
_REASON = "'reasoning_effort' says how much a model reasons."
_PROMPT = "a prompt that is too long is refused, not cut."

MEANINGFUL: dict[str, _Meaning] = {
    # How the answer looks.
    "format": _Meaning(_FORMAT),
    "guided_decoding_backend": _Meaning("there is one engine for formats.", ("auto", "guidance")),
    "guided_whitespace_pattern": _Meaning("white space in JSON has one style."),
    "ebnf": _Meaning(_FORMAT),
    "structural_tag": _Meaning(_FORMAT),
    "continue_final_message": _Meaning("an answer is a turn of its own."),
    "add_generation_prompt": _Meaning("a prompt ends where the model's turn begins.", (True,)),
    "reasoning_format": _Meaning("reasoning is told apart from the answer.", ("auto", "deepseek")),
    "parse_tool_calls": _Meaning("calls are told apart from the answer.", (True,)),
    "response_prefix": _Meaning("an answer is a turn of its own."),
    "ban_eos_token": _Meaning("'ignore_eos' does not end where the model would."),
    "stop_sequences": _Meaning("send 'stop' with texts."),
    "stopping_strings": _Meaning("send 'stop' with texts."),
    "max_new_tokens": _Meaning("send 'max_completion_tokens'."),
    "max_length": _Meaning("send 'max_completion_tokens'."),
    "max_output_tokens": _Meaning("send 'max_completion_tokens'."),
    "n_predict": _Meaning("send 'max_completion_tokens'.", (-1,)),
    "num_predict": _Meaning("send 'max_completion_tokens'.", (-1,)),
    "min_tokens": _Meaning("an answer ends where the model ends it."),
    "min_new_tokens": _Meaning("an answer ends where the model ends it."),
    "stop_token_ids": _Meaning("send 'stop' with texts."),
    "include_stop_str_in_output": _Meaning("stop strings are never part of the answer."),
    "bad_words": _Meaning("'logit_bias' forbids tokens."),
    "bad_words_ids": _Meaning("'logit_bias' forbids tokens."),
    "banned_tokens": _Meaning("'logit_bias' forbids tokens."),
    "custom_token_bans": _Meaning("'logit_bias' forbids tokens."),
    "allowed_token_ids": _Meaning("'structured_outputs.choice' and 'regex' say what may come."),
    "skip_special_tokens": _Meaning("control tokens are never part of the answer.", (True,)),
    "return_token_ids": _Meaning("answers are text; `logprobs` has each token's bytes."),
    "return_tokens_as_token_ids": _Meaning("answers are text; `logprobs` has each token's bytes."),
    "return_tokens": _Meaning("answers are text; `logprobs` has each token's bytes."),
    "prompt_logprobs": _Meaning("`/v1/completions` with 'echo' is where prompts are scored."),
    "post_sampling_probs": _Meaning("log-probabilities are the model's own, before sampling."),
    "n_probs": _Meaning("send 'logprobs' and 'top_logprobs'."),
    # How the next token is chosen.
    "random_seed": _Meaning("send 'seed'.", (-1,)),
    "rep_pen": _Meaning(_PENALTY, (1,)),
    "typical": _Meaning("send 'typical_p'.", (1,)),
    "mirostat_mode": _Meaning("send 'mirostat'."),
    "dynamic_temperature": _Meaning(_SAMPLER),
    "dynatemp_range": _Meaning(_SAMPLER),
    "dynatemp_exponent": _Meaning(_SAMPLER, (1,)),
    "encoder_repetition_penalty": _Meaning(_PENALTY, (1,)),
    "epsilon_cutoff": _Meaning(_SAMPLER),
    "eta_cutoff": _Meaning(_SAMPLER),
    "guidance_scale": _Meaning(_SAMPLER, (1,)),
    "logits_processors": _Meaning(_SAMPLER),
    "negative_prompt": _Meaning(_SAMPLER),
    "no_repeat_ngram_size": _Meaning("'dry_multiplier' works against repetition."),
    "penalize_newline": _Meaning(_PENALTY),
    "penalize_nl": _Meaning(_PENALTY),
    "penalty_alpha": _Meaning(_SAMPLER),
    "samplers": _Meaning("the order of samplers is fixed."),
    "sampler_priority": _Meaning("the order of samplers is fixed."),
    "sampler_seq": _Meaning("the order of samplers is fixed."),
    "smoothing_factor": _Meaning(_SAMPLER),
    "temperature_last": _Meaning("temperature is last already.", (True,)),
    "tfs": _Meaning(_SAMPLER, (1,)),
    "tfs_z": _Meaning(_SAMPLER, (1,)),
    "top_a": _Meaning(_SAMPLER),
    "top_n_sigma": _Meaning(_SAMPLER, (-1, 0)),
    "do_sample": _Meaning("temperature 0 does not sample.", (True,)),
    "use_beam_search": _Meaning(_BEAMS),
    "num_beams": _Meaning(_BEAMS, (1,)),
    "beam_width": _Meaning(_BEAMS, (1,)),
    "length_penalty": _Meaning(_BEAMS, (1,)),
    "early_stopping": _Meaning(_BEAMS),
    "truncate_prompt_tokens": _Meaning(_PROMPT),
    "truncation": _Meaning(_PROMPT, ("disabled",)),
    "max_context_length": _Meaning("'num_ctx' sets the context."),
    "n_keep": _Meaning(_PROMPT),
    "num_keep": _Meaning(_PROMPT),
    "n_discard": _Meaning(_PROMPT),
    "shift": _Meaning(_PROMPT),
    # How the prompt is made.
    "chat_template": _Meaning("a model's template is its own."),
    "template": _Meaning("a model's template is its own."),
    "documents": _Meaning("put them into a message."),
    "system": _Meaning("send a message with the role system."),
    "system_prompt": _Meaning("send a message with the role system."),
    "context": _Meaning("send the conversation; its prefix is cached."),
    "raw": _Meaning("`/v1/completions` takes text without a template."),
    "images": _Meaning("images are parts of messages."),
    "image_data": _Meaning("images are parts of messages."),
    "mm_processor_kwargs": _Meaning("images are parts of messages."),
    "add_special_tokens": _Meaning("the template decides about them.", (True,)),
    "include_reasoning": _Meaning(_REASON, (True,)),
    "reasoning": _Meaning(_REASON),
    "reasoning_budget": _Meaning(_REASON, (-1,)),
    "thinking": _Meaning(_REASON),
    "thinking_budget": _Meaning(_REASON, (-1,)),
    "thinking_budget_tokens": _Meaning(_REASON, (-1,)),
    "max_thinking_tokens": _Meaning(_REASON, (-1,)),
    # How the model is opened, and which one.
    "options": _Meaning("its fields are fields of the request here: 'top_k', 'num_ctx', ..."),
    "num_gpu": _Meaning(_OPEN),
    "num_batch": _Meaning(_OPEN),
    "num_thread": _Meaning(_OPEN),
    "n_gpu_layers": _Meaning(_OPEN),
    "adapters": _Meaning('adapters are named in \'lora\': [{"name": MODEL, "scale": 1}].'),
    "lora_adapter": _Meaning('adapters are named in \'lora\': [{"name": MODEL, "scale": 1}].'),
    "lora_request": _Meaning('adapters are named in \'lora\': [{"name": MODEL, "scale": 1}].'),
    "draft_model": _Meaning("no engine here takes a draft model."),
    "models": _Meaning(_ROUTING),
    "fallbacks": _Meaning(_ROUTING),
    "route": _Meaning(_ROUTING),
    "plugins": _Meaning("requests bring no plugins."),
    "transforms": _Meaning(_PROMPT),
}
