"""A query and a document as the tokens a ranking model reads, and its numbers as relevances. Pure but for the
tokenizer; used by `encoder`, on the embedder's thread."""

from collections.abc import Callable, Sequence

import numpy as np

from aiadmin_core.embedder import Job, Tokens
from aiadmin_core.errors import AiAdminError, InputTooLong
from aiadmin_core.specs.vectors import Scores

from ..tokenizer import LlamaTokenizer

Pair = tuple[list[int], list[int], list[int]]
"""What stands before a document, the document, and what stands behind it."""


def read_pairs(
    query: str, documents: Sequence[str], tokenizer: LlamaTokenizer, template: str | None, *, truncate: bool
) -> Callable[[int], list[Tokens]]:
    """What a `Job` reads: the query and each document, of at most so many tokens together. See `SupportsScore`."""

    def read(n_most: int) -> list[Tokens]:
        found: list[Tokens] = []
        for index, document in enumerate(documents):
            before, tokens, behind = _pair(query, document, tokenizer, template)
            room = n_most - len(before) - len(behind)
            if room < 1:
                raise InputTooLong(n_tokens=len(before) + len(behind) + 1, n_most=n_most, param="query")
            if len(tokens) > room and not truncate:
                n_tokens = len(before) + len(tokens) + len(behind)
                raise InputTooLong(n_tokens=n_tokens, n_most=n_most, param=f"documents[{index}]")
            found.append(np.asarray([*before, *tokens[:room], *behind], np.int32))
        return found

    return read


def scores(job: Job) -> Scores:
    """Of a model with one number for a pair its logistic function; of one with several, which are probabilities, the
    first. Raises `AiAdminError` where the model computed no number."""
    rows = np.stack(job.rows).astype(np.float64) if job.rows else np.empty((0, 1))
    if not np.isfinite(rows).all():
        raise AiAdminError("The model's rank of a document is no number.")
    first = rows[:, 0]
    found = first if rows.shape[1] > 1 else 1 / (1 + np.exp(-np.clip(first, -500, 500)))
    return Scores(data=found.astype("<f4").tobytes(), n_tokens=job.n_tokens)


def _pair(query: str, document: str, tokenizer: LlamaTokenizer, template: str | None) -> Pair:
    if template is None:
        opening, between, closing = tokenizer.around_pairs
        before = [*opening, *tokenizer.encode(query, special=False), *between]
        return before, tokenizer.encode(document, special=False), closing
    head, _, tail = template.partition("{document}")
    start, _, end = head.partition("{query}")
    before = [*_filled(start, query, tokenizer), *_filled(end, "", tokenizer)]
    *_, spaces = _apart(end)
    return before, tokenizer.encode(spaces + document, special=False), tokenizer.encode(tail, special=True)


def _filled(marked: str, text: str, tokenizer: LlamaTokenizer) -> list[int]:
    """Apart, so that control tokens in what was sent stay text. A space in front of it belongs to its first word."""
    marked, spaces = _apart(marked)
    written = tokenizer.encode(spaces + text, special=False) if text else []
    return [*tokenizer.encode(marked, special=True), *written]


def _apart(marked: str) -> tuple[str, str]:
    """A stretch of a template, and the spaces it ends with."""
    bare = marked.rstrip(" ")
    return bare, marked[len(bare) :]
