"""Requests for `/v1/completions` to core's: pure, and called once a request by `route`."""

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.request import GenerateRequest, Input, TextInput, TokensInput
from aiadmin_core.specs.sampling import MAX_INT

from ....http.reading import Decoded
from ....serving.call import Call
from ....serving.sampling import keep_alive_s
from ..extensions import adapters, constraint_of, load_options, told_apart
from ..inputs import Inputs, separate
from ..sampling import SHARED_RANGES, check_ranges, given, sampling_names, sampling_params
from ..streaming import check_stream_options
from ..unplaced import unplaced
from . import wire

DEFAULT_TOKENS = 16

RANGES = {**SHARED_RANGES, "best_of": (0, 20), "logprobs": (0, 5), "max_tokens": (0, MAX_INT)}


def completion_call(decoded: Decoded[wire.CompletionRequest]) -> Call:
    """As `chat_call`. Each prompt becomes a request of its own."""
    data = decoded.data
    check_ranges(data, RANGES)
    check_stream_options(data.stream, data.stream_options)
    n_kept = data.n or 1
    n = data.best_of or n_kept
    if n < n_kept:
        raise BadRequest(f"'best_of' ({n}) must not be less than 'n' ({n_kept}).", param="best_of")
    if n > n_kept and data.stream:
        raise BadRequest("'best_of' cannot be streamed: the best is known at the end.", param="best_of")
    inputs = _prompts(data.prompt, data.suffix)
    # What the tokens of a prompt say is told with their log-probabilities, and asked for by the same event.
    scores = bool(data.echo) and (data.logprobs is not None or any(isinstance(item, TokensInput) for item in inputs))
    if scores and data.suffix is not None:
        raise BadRequest(
            "'echo' with 'logprobs' scores a prompt that is read from end to end, not one with a 'suffix'.",
            param="suffix",
        )
    logprobs = 0 if data.logprobs is None and n > n_kept else data.logprobs  # the best is found by them
    sampling = sampling_params(data, max_tokens=_limit(data.max_tokens), logprobs=logprobs)
    constraint, constraint_field = constraint_of(data) or (None, "")
    asked, unknown = told_apart(decoded.unknown)
    names = {"score_prompt": "echo", "reads_only": "max_tokens"}
    names |= {"n": "best_of", "logprobs": "best_of"} if n > n_kept else {}
    return Call(
        model=data.model,
        requests=tuple(
            GenerateRequest(
                id=0,
                input=item,
                sampling=sampling,
                n=n,
                score_prompt=scores,
                reads_only=data.max_tokens == 0,
                constraint=constraint,
                priority=data.priority or 0,
                cache_salt=data.cache_salt or "",
                speculation=data.speculation is not False,
            )
            for item in inputs
        ),
        given=given(data, sampling),
        names=sampling_names(data) | names | ({"constraint": constraint_field} if constraint_field else {}),
        keep_alive_s=keep_alive_s(data.keep_alive),
        lora=adapters(data),
        load=load_options(data),
        unplaced=(*unplaced(data), *asked),
        unknown=unknown,
    )


def _limit(max_tokens: int | None) -> int | None:
    """Of an answer's tokens; None where there is none to be limited."""
    return DEFAULT_TOKENS if max_tokens is None else max_tokens or None


def _prompts(prompt: Inputs | None, suffix: str | None) -> tuple[Input, ...]:
    prompts = separate("" if prompt is None else prompt, "prompt")
    if suffix is not None and not all(isinstance(item, str) for item in prompts):
        raise BadRequest("'suffix' needs a prompt of text.", param="suffix")
    return tuple(
        TextInput(text=item, suffix=suffix) if isinstance(item, str) else TokensInput(tokens=item) for item in prompts
    )
