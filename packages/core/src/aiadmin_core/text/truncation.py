"""Which turns of a conversation are left out where it does not fit. Pure; used by `assemble`, on a worker thread."""

from collections.abc import Callable, Sequence

from ..specs.content import Message
from .prompt import RenderedPrompt


def without_oldest(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """The conversation, and what is left of it without its oldest turn, its two oldest, ..., down to the last one. A
    turn is what a user says with all that follows until the next; the instructions at the beginning stay."""
    n_head = next(
        (n for n, message in enumerate(messages) if message.role not in ("system", "developer")), len(messages)
    )
    head = tuple(messages[:n_head])
    begins = [n for n in range(n_head + 1, len(messages)) if messages[n].role == "user" != messages[n - 1].role]
    return [tuple(messages), *((*head, *messages[begin:]) for begin in begins)]


def fitting(
    messages: Sequence[Message], write: Callable[[tuple[Message, ...]], RenderedPrompt], most: int
) -> tuple[RenderedPrompt, int]:
    """The prompt of `messages` without as few of its oldest turns as make it `most` tokens at most, and how many
    messages that leaves out; the last turn stays, however long it is. Raises what `write` does."""
    kept = without_oldest(messages)
    first, last = 0, len(kept) - 1
    rendered = write(kept[0])
    if len(rendered.tokens) <= most:
        return rendered, 0
    rendered = write(kept[last])
    while last - first > 1:  # a conversation without one turn more is no longer
        middle = (first + last) // 2
        shorter = write(kept[middle])
        if len(shorter.tokens) <= most:
            last, rendered = middle, shorter
        else:
            first = middle
    return rendered, len(messages) - len(kept[last])
