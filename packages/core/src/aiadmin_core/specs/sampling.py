"""How the next token is chosen. Declared here once: names, types, ranges, defaults and descriptions.

Whatever else knows a parameter reads it from `SamplingParams` (`parameters`): which fields a request may have and in
which range, what a model's own defaults may set, what `/set` takes, the table in the reference. A new parameter is one
field here, and the backends that compute it name it in their `Capabilities`; the others refuse it by name.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated

from msgspec import Meta, Struct

from .parameter import Parameter, parameters_of

MAX_INT = 2**31 - 1


class SamplingParams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen from the logits, and when to stop.

    The defaults are OpenAI's: the model's own distribution, unchanged. The order in which parameters act is
    llama.cpp's: `logit_bias`, penalties, DRY, then `top_k`, `typical_p`, `top_p`, `min_p`, XTC, then the temperature;
    with `mirostat`, the temperature and then mirostat instead of these.
    """

    temperature: Annotated[float, Meta(ge=0, le=2, description="0 takes the most likely token.")] = 1.0
    top_p: Annotated[
        float,
        Meta(ge=0, le=1, description="Keep the smallest set of tokens whose probabilities sum to this; 0 keeps one."),
    ] = 1.0
    top_k: Annotated[
        int, Meta(ge=0, le=MAX_INT, description="Keep this many of the most likely tokens; 0 keeps all.")
    ] = 0
    min_p: Annotated[
        float, Meta(ge=0, le=1, description="Drop tokens less likely than this share of the most likely one.")
    ] = 0.0
    typical_p: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Keep the tokens whose surprise is nearest to the expected one, until they sum to this; 1 is "
            "off. Locally typical sampling, https://arxiv.org/abs/2202.00666",
        ),
    ] = 1.0
    xtc_probability: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How often, by chance, all tokens above `xtc_threshold` but the least likely of them are "
            "dropped; 0 is off. https://github.com/oobabooga/text-generation-webui/pull/6335",
        ),
    ] = 0.0
    xtc_threshold: Annotated[
        float, Meta(ge=0, le=1, description="Probability from which on XTC drops tokens; above 0.5 it is off.")
    ] = 0.1
    mirostat: Annotated[
        int,
        Meta(
            ge=0,
            le=2,
            description="Keep the answer's surprise at `mirostat_tau` instead of truncating, by this version of "
            "mirostat; 0 is off. https://arxiv.org/abs/2007.14966",
        ),
    ] = 0
    mirostat_tau: Annotated[
        float, Meta(ge=0, le=100, description="The surprise that mirostat aims at, in bits a token.")
    ] = 5.0
    mirostat_eta: Annotated[float, Meta(ge=0, le=1, description="How fast mirostat follows.")] = 0.1
    frequency_penalty: Annotated[
        float, Meta(ge=-2, le=2, description="Subtracted from a token's logit once for each time it was generated.")
    ] = 0.0
    presence_penalty: Annotated[
        float, Meta(ge=-2, le=2, description="Subtracted once from the logit of every token that was generated.")
    ] = 0.0
    repeat_penalty: Annotated[
        float,
        Meta(
            ge=0.01,
            le=100,
            description="Divides (or multiplies, below zero) the logits of recent tokens, the prompt's included; 1 is "
            "off.",
        ),
    ] = 1.0
    repeat_last_n: Annotated[
        int,
        Meta(ge=-1, le=MAX_INT, description="How many tokens back `repeat_penalty` looks; -1 is the whole context."),
    ] = 64
    dry_multiplier: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Penalise tokens that would go on repeating what was said before, the prompt included: this "
            "times `dry_base` to the power of the repetition's length beyond `dry_allowed_length` is subtracted; 0 is "
            "off. https://github.com/oobabooga/text-generation-webui/pull/5677",
        ),
    ] = 0.0
    dry_base: Annotated[float, Meta(ge=0, le=100, description="See `dry_multiplier`; below 1 it is off.")] = 1.75
    dry_allowed_length: Annotated[
        int, Meta(ge=0, le=MAX_INT, description="Repetitions up to this many tokens are free.")
    ] = 2
    dry_penalty_last_n: Annotated[
        int,
        Meta(ge=-1, le=MAX_INT, description="How many tokens back DRY looks; 0 is off, -1 is the whole context."),
    ] = 64
    dry_sequence_breakers: Annotated[
        tuple[str, ...],
        Meta(max_length=64, description="Texts that repetitions are not followed across."),
    ] = ("\n", ":", '"', "*")
    logit_bias: Annotated[
        dict[int, float], Meta(description="Added to the logits of these token ids before anything else.")
    ] = {}
    seed: Annotated[
        Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
        Meta(description="The same seed, request and build give the same text; without one, it is drawn."),
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_INT)] | None,
        Meta(description="New tokens to generate, reasoning included; without it, until the context is full."),
    ] = None
    stop: Annotated[
        tuple[str, ...], Meta(description="Texts that end the answer; none of them is ever given out.")
    ] = ()
    logprobs: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Report each token's log-probability and those of this many alternatives."),
    ] = None
    ignore_eos: Annotated[
        bool, Meta(description="Go on past the end-of-generation token, until `max_tokens`. For benchmarks.")
    ] = False


SHAPED = frozenset({"max_tokens", "stop", "logprobs", "logit_bias"})
"""Parameters that each API shapes in its own way, and that capabilities, settling and limits treat by rules of their
own. Every other one has one name and one value wherever it is asked for."""


@cache
def parameters() -> Mapping[str, Parameter]:
    """All parameters by name, in the order of their declaration."""
    return parameters_of(SamplingParams)


@cache
def plain_parameters() -> tuple[Parameter, ...]:
    """Those that are not `SHAPED`."""
    return tuple(parameter for parameter in parameters().values() if parameter.name not in SHAPED)
