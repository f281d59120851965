"""What an answer cost, in OpenAI's words."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from aiadmin_core.specs import events as core


class PromptTokensDetails(Struct, frozen=True, kw_only=True):
    cached_tokens: int


class CompletionTokensDetails(Struct, frozen=True, kw_only=True):
    reasoning_tokens: int
    accepted_prediction_tokens: int | UnsetType = UNSET
    """Of the answer; both are missing where the request had no `prediction`, or it was of no use here."""
    rejected_prediction_tokens: int | UnsetType = UNSET
    """Of the prediction."""


class Usage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET
    """Missing where the engine does not know: 0 means that nothing was cached."""
    completion_tokens_details: CompletionTokensDetails | UnsetType = UNSET


class UsageTally:
    """Adds up what the choices of all requests behind one response cost; each request's prompt counts once."""

    def __init__(self) -> None:
        self._requests: dict[int, list[core.Usage]] = {}

    def add(self, finished: core.Finished) -> None:
        self._requests.setdefault(finished.request_id, []).append(finished.usage)

    def total(self) -> Usage:
        choices = [usage for request in self._requests.values() for usage in request]
        n_prompt = sum(max(usage.prompt_tokens for usage in request) for request in self._requests.values())
        n_completion = sum(usage.completion_tokens for usage in choices)
        cached = [_most_cached(request) for request in self._requests.values()]
        accepted = sum(usage.accepted_prediction_tokens for usage in choices)
        rejected = sum(usage.rejected_prediction_tokens for usage in choices)
        known = [count for count in cached if count is not None]
        return Usage(
            prompt_tokens=n_prompt,
            completion_tokens=n_completion,
            total_tokens=n_prompt + n_completion,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=sum(known)) if known else UNSET,
            completion_tokens_details=CompletionTokensDetails(
                reasoning_tokens=sum(usage.reasoning_tokens for usage in choices),
                accepted_prediction_tokens=accepted if accepted + rejected else UNSET,
                rejected_prediction_tokens=rejected if accepted + rejected else UNSET,
            ),
        )


def _most_cached(request: Sequence[core.Usage]) -> int | None:
    return max((usage.cached_tokens for usage in request if usage.cached_tokens is not None), default=None)
