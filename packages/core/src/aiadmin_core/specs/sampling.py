"""How the next token is chosen."""

from typing import Annotated

from msgspec import Meta, Struct


class SamplingParams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen from the logits, and when to stop.

    The defaults are OpenAI's: the model's own distribution, unchanged.
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    """0 takes the most likely token."""
    top_p: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Keep the smallest set of tokens whose probabilities sum to this; 0 keeps one."""
    top_k: Annotated[int, Meta(ge=0)] = 0
    """Keep this many of the most likely tokens; 0 keeps all."""
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Drop tokens less likely than this share of the most likely one."""
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    """Subtracted from a token's logit once for each time it was generated."""
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    """Subtracted once from the logit of every token that was generated."""
    repeat_penalty: Annotated[float, Meta(gt=0)] = 1.0
    """Divides (or multiplies, below zero) the logits of recent tokens, the prompt's included; 1 is off."""
    repeat_last_n: Annotated[int, Meta(ge=-1)] = 64
    """How many tokens back `repeat_penalty` looks; -1 is the whole context."""
    logit_bias: dict[int, float] = {}
    """Added to the logits of these token ids before anything else."""
    seed: int | None = None
    """The same seed, request and build give the same text; None draws one."""
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    """New tokens to generate, reasoning included; None runs until the context is full."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; none of them is ever given out."""
    logprobs: Annotated[int, Meta(ge=0)] | None = None
    """Report each token's log-probability and those of this many alternatives; None reports none."""
    ignore_eos: bool = False
    """Go on past the end-of-generation token, until `max_tokens`. For benchmarks."""
