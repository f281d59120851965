"""What an engine can do. What is not named here is refused by name before it reaches the engine."""

from typing import Literal

from msgspec import Struct

Modality = Literal["text", "image", "audio"]
ConstraintKind = Literal["json_object", "json_schema", "regex", "choice", "lark"]
InputKind = Literal["chat", "text", "tokens"]
OptionalProtocol = Literal["tokenize", "embed", "score", "adapters", "threads"]

MAX_LOGPROBS = 20
"""Alternatives per token that OpenAI's API can ask for."""


class Capabilities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The table a backend publishes. The defaults are the least a backend can offer: text chat, nothing to tune."""

    generates: bool = True
    """False for a model that only reads (an encoder): it embeds or scores, as `protocols` says, and every other field
    here is without meaning."""
    inputs: frozenset[InputKind] = frozenset({"chat"})
    modalities: frozenset[Modality] = frozenset({"text"})
    """Of the input; output is text."""
    sampling: frozenset[str] = frozenset()
    """Fields of `SamplingParams` that are honoured beyond `max_tokens` and `stop`."""
    constraints: frozenset[ConstraintKind] = frozenset()
    max_choices: int = 1
    """Largest `n`."""
    max_logprobs: int | None = None
    """Most alternatives per token; None where log-probabilities are not reported."""
    scores_prompts: bool = False
    """Whether a prompt's own log-probabilities are reported, with an answer or without one."""
    tools: bool = False
    reasoning: bool = False
    suffix: bool = False
    """Whether it fills a gap between two texts."""
    renders: bool = False
    """Whether conversations become prompts in the engine: a request may bring a chat template and tokens of earlier
    turns, and be told the tokens."""
    protocols: frozenset[OptionalProtocol] = frozenset()
    """Optional protocols of `aiadmin_core.backend` the engine implements."""
    cached_tokens: bool = False
    """Whether `Usage.cached_tokens` is reported."""
    predictions: bool = False
    """Whether a text that the client expects makes answers like it faster; elsewhere it is left out."""
    forwards_unknown: bool = False
    """Whether request fields AiAdmin does not know are passed on instead of refused."""
