"""What one choice brings to a step: its settings, its random numbers, and what its penalties look back on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..specs.sampling import SamplingParams
from .draws import Draws, seed_of
from .dry import Breakers, penalties
from .history import History, Tokens

GREEDY_BELOW = 1e-5
"""A temperature this low takes the most likely token: further down its reciprocal overflows."""

SUPPORTED = frozenset(
    {
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
        "xtc_probability",
        "xtc_threshold",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
        "frequency_penalty",
        "presence_penalty",
        "repeat_penalty",
        "repeat_last_n",
        "dry_multiplier",
        "dry_base",
        "dry_allowed_length",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "logit_bias",
        "seed",
        "logprobs",
        "ignore_eos",
    }
)
"""For `Capabilities.sampling` of an engine that chooses its tokens here (`ignore_eos` is in `TokenRequest.end_tokens`).
Written out, because a parameter that nobody computes yet has to be refused."""

Row = npt.NDArray[np.float32]


class ChoiceSampler:
    """How one choice's tokens are chosen. Touched by the engine thread alone."""

    def __init__(
        self,
        params: SamplingParams,
        *,
        choice: int = 0,
        prompt: Sequence[int] | Tokens = (),
        breakers: Breakers | None = None,
    ) -> None:
        """`prompt`: what `repeat_penalty` and DRY count in (and OpenAI's two penalties do not). `breakers`: what
        `dry_sequence_breakers` are in this vocabulary; without them DRY follows repetitions across everything."""
        self.params = params
        self.draws = Draws(seed_of(params.seed, choice))
        self.n_sampled = 0
        self.mu = 2 * params.mirostat_tau
        """Mirostat's state: the most surprise a token may have."""
        self.greedy = params.temperature < GREEDY_BELOW
        self._breakers = breakers
        self._repeats = params.repeat_penalty != 1 and params.repeat_last_n != 0
        self._dry = params.dry_multiplier > 0 and params.dry_base >= 1 and params.dry_penalty_last_n != 0
        self._counts_tokens = bool(params.frequency_penalty or params.presence_penalty)
        self._looks_back = self._repeats or self._dry or self._counts_tokens
        self._history = History(prompt if self._repeats or self._dry else ())
        self._counts: Counter[int] = Counter()

    @property
    def adjusts(self) -> bool:
        """Whether `adjust` changes anything."""
        return self._looks_back or bool(self.params.logit_bias)

    def adjust(self, row: Row) -> None:
        """Bias and penalties, written into `row` (float32[n_vocab]): at most as many places as tokens were seen."""
        params = self.params
        if params.logit_bias:
            ids = np.fromiter(params.logit_bias, np.int64)
            row[ids] += np.fromiter(params.logit_bias.values(), np.float32)
        if self._repeats:
            ids = np.unique(self._history.last(params.repeat_last_n))
            logits = row[ids]
            row[ids] = np.where(logits > 0, logits / params.repeat_penalty, logits * params.repeat_penalty)
        if self._counts:
            ids = np.fromiter(self._counts, np.int64)
            counts = np.fromiter(self._counts.values(), np.float32)
            row[ids] -= counts * np.float32(params.frequency_penalty) + np.float32(params.presence_penalty)
        if self._dry:
            self._adjust_dry(row)

    def _adjust_dry(self, row: Row) -> None:
        params = self.params
        ids, amounts = penalties(
            self._history.last(params.dry_penalty_last_n),
            self._breakers or Breakers.none(len(row)),
            multiplier=params.dry_multiplier,
            base=params.dry_base,
            allowed_length=params.dry_allowed_length,
        )
        row[ids] -= amounts

    def accept(self, token: int) -> None:
        """`token` was chosen."""
        self.n_sampled += 1
        if self._looks_back:
            self._history.append(token)
        if self._counts_tokens:
            self._counts[token] += 1
