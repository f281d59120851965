"""What an answer cost."""

from msgspec import to_builtins

from aiadmin_core.specs.events import Finished, Usage
from aiadmin_server.apis.openai.usage import UsageTally


def test_usage_counts_a_prompt_once_and_every_choice():
    tally = UsageTally()
    for request_id, choice, cached in [(1, 0, 3), (1, 1, 5), (2, 0, None)]:
        usage = Usage(prompt_tokens=10, completion_tokens=2, cached_tokens=cached, reasoning_tokens=1)
        tally.add(Finished(request_id, "stop", usage, choice))
    total = tally.total()
    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (20, 6, 26)
    assert total.prompt_tokens_details.cached_tokens == 5
    assert total.completion_tokens_details.reasoning_tokens == 3


def test_predicted_tokens_are_told_where_there_was_a_prediction():
    tally, without = UsageTally(), UsageTally()
    usage = Usage(completion_tokens=9, accepted_prediction_tokens=6, rejected_prediction_tokens=2)
    for choice in range(2):
        tally.add(Finished(1, "stop", usage, choice))
    without.add(Finished(1, "stop", Usage(completion_tokens=9)))

    assert to_builtins(tally.total().completion_tokens_details) == {
        "reasoning_tokens": 0,
        "accepted_prediction_tokens": 12,
        "rejected_prediction_tokens": 4,
    }
    assert to_builtins(without.total().completion_tokens_details) == {"reasoning_tokens": 0}


def test_nothing_cached_is_0_and_not_missing():
    tally = UsageTally()
    tally.add(Finished(1, "stop", Usage(prompt_tokens=1, cached_tokens=0)))
    assert tally.total().prompt_tokens_details.cached_tokens == 0
