"""What other threads ask of the engine thread, and a request's job made of it. Called by the loop."""

import time

from aiadmin_core.backend import TokenRequest
from aiadmin_core.errors import BadRequest, ContextLengthExceeded, UnsupportedParameter
from aiadmin_core.specs.prompt import TokenSegment

from ..model import LoadedModel
from ..sampler import Sampler
from .sequence import Job, Sequence


class Submit:
    """Start a request."""

    def __init__(self, request: TokenRequest) -> None:
        self.request = request
        self.at = time.perf_counter()


class Cancel:
    """Free the place of a request, or of one of its choices."""

    def __init__(self, request_id: int, choice: int | None) -> None:
        self.request_id = request_id
        self.choice = choice


class Stop:
    """End the loop."""


Command = Submit | Cancel | Stop


def make_job(command: Submit, model: LoadedModel) -> Job:
    """The job of a request. Raises `BadRequest` for what would crash the model, or could never be admitted."""
    request = command.request
    prompt: list[int] = []
    for segment in request.prompt:
        if not isinstance(segment, TokenSegment):
            raise BadRequest("This model reads text only.", param="messages")
        prompt.extend(segment.tokens)
    n_vocab, n_ctx = model.n_logits, model.facts.n_ctx
    if not prompt:
        raise BadRequest("The prompt is empty.", param="messages")
    if not all(0 <= token < n_vocab for token in prompt):
        raise BadRequest(f"A token id of the prompt is outside the vocabulary of {n_vocab}.", param="prompt")
    if not all(0 <= token < n_vocab for token in request.sampling.logit_bias):
        raise BadRequest(f"A token id is outside the vocabulary of {n_vocab}.", param="logit_bias")
    if len(prompt) + request.max_tokens > n_ctx:
        raise ContextLengthExceeded(n_prompt=len(prompt), n_ctx=n_ctx)
    if request.adapters:
        raise UnsupportedParameter("adapters")
    if request.n > model.n_parallel:
        raise UnsupportedParameter("n", why=f"this model gives at most {model.n_parallel} choices.")
    job = Job(request=request, prompt=tuple(prompt), submitted_at=command.at)
    for choice in range(request.n):
        sampler = Sampler(request.sampling, matcher=request.matchers[choice], prompt=prompt, choice=choice)
        job.sequences.append(Sequence(job=job, choice=choice, sampler=sampler))
    return job
