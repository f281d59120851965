"""Who gets which tokens this step. Pure but for the KV cache it is given; called by the loop, on its thread."""

from bisect import insort
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple

from aiadmin_core.cache.scores import WORTH_WAITING, ScoredPrompts, common_prefix
from aiadmin_core.jobs import Job
from aiadmin_core.sampling.choice import GREEDY_BELOW
from aiadmin_core.sampling.logprobs import Likelihood
from aiadmin_core.speculation.drafter import Drafter
from aiadmin_core.steps import Piece

from .exactness import Filler, filler, most_rows
from .kv import KvCache, Wait
from .long_prompts import LEAST, LONG, tiled_chunk
from .plan import plan_step, prefill_limit
from .prefixes import Prefixes
from .sequence import Choice, Sequence
from .speculation import Speculator
from .turns import State, Turns

ROOM = 64
"""Cells of answer that a choice must find free to be admitted. More come as it grows."""

Care = Literal["none", "alone", "exact"]
"""How a model that needs filled steps serves a request: as fast as it can; such that the same request gives the same
answer when nobody else runs, for which it is enough to fill the steps that read its prompt (however much of it is
cached); or such that it does so beside others."""


class Step(NamedTuple):
    """What to decode together, and who cannot go on because the context holds nothing but it."""

    pieces: list[Piece[Sequence]]
    full: list[Sequence]
    filler: Filler = Filler()
    """Rows to decode beside them, for reproducible sequences."""
    adapters: State = ()
    """What the context has to apply."""
    apart: bool = False
    """Whether it is a piece of a long prompt, to be read in a context of its own (`long_prompts`)."""

    @property
    def reads_prompts(self) -> bool:
        return any(piece.kind == "prefill" for piece in self.pieces)


class Scheduler:
    """Waiting and running sequences.

    A sequence runs when its prompt and some room for its answer fit beside what the others need. If cells run out all
    the same, cached prefixes go first; then the youngest running sequence goes back to waiting, keeps its tokens and
    its samplers, and is prefilled again later.
    """

    def __init__(
        self,
        kv: KvCache,
        *,
        n_batch: int,
        n_parallel: int,
        block: int = 1,
        always_exact: bool = False,
        parked: Prefixes | None = None,
        speculator: Speculator | None = None,
        reads_apart: bool = False,
    ) -> None:
        """`block`: fill the steps that a reproducible sequence takes part in up to a multiple of so many rows, see
        `exactness`; every sequence is one with `always_exact`, else those with a seed, and greedy ones as long as their
        prompt is read. `reads_apart`: there is a context for long prompts, see `long_prompts`."""
        self.kv = kv
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self._n_batch = n_batch
        self._n_parallel = n_parallel
        self._block = block
        self._always_exact = always_exact
        self._parked = parked
        self._scores = ScoredPrompts()
        self._speculator = speculator
        self._turns = Turns()
        self.reads_apart = reads_apart

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting)

    @property
    def n_running(self) -> int:
        """Choices that have their place."""
        return sum(len(sequence.choices) for sequence in self.running)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence: by priority, then arrival."""
        insort(self.waiting, sequence, key=lambda waiting: waiting.order)

    def drafters(self, job: Job) -> list[Drafter | None]:
        """Who guesses the tokens of each choice of `job`."""
        if self._speculator is None:
            return [None] * job.request.n
        return self._speculator.drafters(job, filled=self._care(job) == "exact")

    def next_step(self, *, now: float, prefill_tokens_per_s: float = 0.0) -> Step:
        """Admit who fits, and choose the tokens of the next step. The cells they need are free."""
        self._admit(now, prefill_tokens_per_s)
        self._move_prefixes()
        full: list[Sequence] = []
        cramped = False
        while able := [sequence for sequence in self.running if sequence.slot and not sequence.slot.arriving]:
            state = self._turns.choose([sequence.adapters for sequence in able])
            running = [sequence for sequence in able if sequence.adapters == state]
            n_decoding = sum(sequence.n_missing == 1 for sequence in running)
            filled = not cramped and any(map(self._is_filled, running))
            n_batch = most_rows(self._n_batch, self._block) if filled else self._n_batch
            n_prefill = min(
                prefill_limit(n_batch=n_batch, n_decoding=n_decoding, tokens_per_s=prefill_tokens_per_s),
                self.kv.n_obtainable - n_decoding - (self._n_batch - n_batch),
            )
            apart = self._piece_apart(running, n_prefill)
            pieces = [apart] if apart else plan_step(running, n_batch=n_batch, n_prefill=n_prefill)
            pieces = self._with_drafts(pieces, n_batch=n_batch, filled=filled)
            n_tokens = sum(piece.n for piece in pieces)
            n_outputs = sum(len(piece.rows) for piece in pieces)
            rows = filler(n_tokens, n_outputs, self._block) if filled else Filler()
            if pieces and self.kv.make_room(n_tokens + rows.n):
                return Step(pieces, full, rows, state, apart=apart is not None)
            self._without_drafts(pieces)
            if len(self.running) > 1:
                self._give_way(max(self.running, key=lambda sequence: sequence.order))
            elif filled:  # the context's last cells are its own, not the filler's: it is alone here whoever else asks
                cramped = True
            else:
                full.append(self.running[0])
                self.finish(self.running[0])
        return Step([], full)

    def _piece_apart(self, running: list[Sequence], n_prefill: int) -> Piece[Sequence] | None:
        """The next piece of the shortest long prompt, where nothing else is to be decoded."""
        if not self.reads_apart or any(not sequence.long or sequence.n_missing <= LEAST for sequence in running):
            return None
        prompt = min(running, key=lambda sequence: sequence.n_missing)
        n = tiled_chunk(prompt.n_missing, n_prefill, self._n_batch)
        return Piece(prompt, n, "prefill") if n <= self.kv.n_obtainable else None

    def _with_drafts(self, pieces: list[Piece[Sequence]], *, n_batch: int, filled: bool) -> list[Piece[Sequence]]:
        """Guessed tokens behind those of sequences that are decoded, as far as they fit into what is free. Not beside
        prompts: these have the step's time. The longest guess comes last: what is wrong at the top leaves no hole."""
        if self._speculator is None or any(piece.kind == "prefill" for piece in pieces):
            return pieces
        block = self._block if filled else 1
        drafts = self._speculator.drafts(
            [piece.sequence for piece in pieces],
            most=min(n_batch - len(pieces), self.kv.n_cells - self.kv.n_used - len(pieces) - 2 * block),
            n_rows=lambda n: n + len(pieces) + filler(n + len(pieces), n + len(pieces), block).n,
        )
        lengthened = [
            piece if not draft else Piece(piece.sequence, 1 + len(draft), "draft", tuple(range(1 + len(draft))))
            for piece, draft in zip(pieces, drafts, strict=True)
        ]
        for piece, draft in zip(pieces, drafts, strict=True):
            piece.sequence.draft(draft)
        return sorted(lengthened, key=lambda piece: piece.n)

    def _without_drafts(self, pieces: Iterable[Piece[Sequence]]) -> None:
        for piece in reversed([*pieces]):
            self.settle(piece.sequence)

    def settle(self, sequence: Sequence) -> None:
        """What is left of its guesses was wrong, or not decoded: take it out."""
        n, slot = sequence.n_drafted, sequence.slot
        if n:
            if slot is not None and slot.n == sequence.tokens.n:
                self.kv.retract(slot, n)
            sequence.tokens.drop(n)
            sequence.n_drafted = 0

    def _admit(self, now: float, tokens_per_s: float) -> None:
        """Give a place to who waits, in order. Want of room stops the queue: if others overtook, a long prompt would
        wait for ever. Who waits for a prefix that is on its way stands aside, and holds up nobody."""
        aside: list[Sequence] = []
        while self.waiting:
            sequence = self.waiting[0]
            n = len(sequence.choices)
            if self.n_running + n > self._n_parallel:
                break
            job = sequence.job
            if self._recall(sequence) is Wait.PREFIX:
                aside.append(self.waiting.pop(0))
                continue
            room = min(sequence.n_to_come, ROOM) * n
            slot = self.kv.admit(sequence.tokens, self._known_key(sequence), room=room, most=sequence.n_reusable)
            if slot is Wait.ROOM:
                break
            self.waiting.pop(0)
            if slot is Wait.PREFIX:
                aside.append(sequence)
                continue
            sequence.slot = slot
            if self._parked is not None and sequence.n_reusable == sequence.tokens.n - 1:
                self._parked.expect(slot, tokens_per_s=tokens_per_s)
            sequence.long = self._may_be_long(sequence) and sequence.tokens.n - slot.n_soon > LEAST
            if sequence.long:
                slot.salt = self._long_key(sequence)
            if not job.admitted_at:
                job.admitted_at, job.n_cached = now, slot.n
            self.running.append(sequence)
        for sequence in aside:
            self.add(sequence)

    def _recall(self, sequence: Sequence) -> Wait | None:
        """See what is known of a prompt that is to be scored, or who is about to find it out."""
        job = sequence.job
        if not job.scores_are_due or job.n_scored:
            return None
        if sequence.behind is None or not sequence.behind.job.scores_are_due or sequence.behind not in self.running:
            sequence.behind = next(filter(partial(self._spares_much, sequence), self.running), None)
        if sequence.behind is not None:
            return Wait.PREFIX
        job.scores.extend(self._scores.known(self._score_key(sequence), job.tokens)[: job.n_to_score])
        return None

    def _spares_much(self, sequence: Sequence, other: Sequence) -> bool:
        """Whether `other`, which runs, is finding out what `sequence` wants to know as well."""
        return (
            other.job.scores_are_due
            and self._score_key(other) == self._score_key(sequence)
            and common_prefix(other.job.tokens, sequence.job.tokens) > WORTH_WAITING
        )

    def _score_key(self, sequence: Sequence) -> str:
        return f"{sequence.job.request.sampling.logprobs or 0}:{self._state_key(sequence)}"

    def scored(self, sequence: Sequence, found: list[Likelihood]) -> None:
        """The next tokens of a prompt that is being scored are as likely as that."""
        job = sequence.job
        job.scores.extend(found)
        if not job.scores_are_due:
            self._scores.keep(self._score_key(sequence), job.tokens, job.scores)

    def _move_prefixes(self) -> None:
        """Bring back what running sequences begin with, and copy out what is cached."""
        if self._parked is None:
            return
        self._parked.tend(busy=bool(self.running))
        for sequence in self.running:
            slot = sequence.slot
            if slot is not None and slot.arriving and self._parked.fetch(slot) and not sequence.job.prefilled_at:
                sequence.job.n_cached = slot.n

    def rest(self) -> None:
        """Nobody runs, and nothing is to be decoded."""
        if self._parked is not None:
            self._parked.rest()

    def close(self, *, within_s: float) -> None:
        """Let everybody go, and keep what they leave."""
        for sequence in list(self.running):
            self.finish(sequence)
        if self._parked is not None:
            self._parked.close(within_s=within_s)

    def _state_key(self, sequence: Sequence) -> str:
        """What has to be the same for a prefix to be shared: the adapters, how the steps were shaped, and the salt."""
        adapters = ",".join(f"{one.digest}*{one.scale}" for one in sequence.adapters)
        return f"{self._care(sequence.job)}:{adapters}:{sequence.job.request.cache_salt}"

    def _long_key(self, sequence: Sequence) -> str:
        """The same for what has been read apart: it may only be used by those who ask for nothing that can be had
        again."""
        return f"apart:{self._state_key(sequence)}"

    def _may_be_long(self, sequence: Sequence) -> bool:
        """Whether its prompt may be read apart, however much of it is known."""
        job = sequence.job
        return (
            self.reads_apart
            and sequence.tokens.n > LONG
            and job.request.sampling.temperature >= GREEDY_BELOW
            and not (self._always_exact or job.reproducible or job.n_to_score or sequence.adapters)
        )

    def _known_key(self, sequence: Sequence) -> str:
        """Under which key more of its prompt is known."""
        plain = self._state_key(sequence)
        if not self._may_be_long(sequence):
            return plain
        return max(plain, self._long_key(sequence), key=lambda key: self._n_known(sequence, key))

    def _n_known(self, sequence: Sequence, key: str) -> int:
        parked = self._parked.n_known(key, sequence.tokens.view()) if self._parked is not None else 0
        return max(parked, self.kv.match(sequence.tokens, key).n)

    def _care(self, job: Job) -> Care:
        if self._block == 1:
            return "none"
        if self._always_exact or job.reproducible:
            return "exact"
        return "alone" if job.request.sampling.temperature < GREEDY_BELOW else "none"

    def _is_filled(self, sequence: Sequence) -> bool:
        """Whether the steps it takes part in are to be filled up."""
        care = self._care(sequence.job)
        return care == "exact" or (care == "alone" and not sequence.job.prefilled_at)

    def took(self, step: Step, *, n_accepted: int, seconds: float) -> None:
        """`step`, in which nothing of a prompt was read, took so long, choosing its tokens included."""
        if self._speculator is not None:
            n_tokens, n_rows = len(step.pieces), sum(piece.n for piece in step.pieces) + step.filler.n
            block = self._block if any(self._is_filled(piece.sequence) for piece in step.pieces) else 1
            self._speculator.observe(
                n_tokens=n_tokens,
                n_plain=n_tokens + filler(n_tokens, n_tokens, block).n,
                n_rows=n_rows,
                n_accepted=n_accepted,
                seconds=seconds,
            )

    def abandon(self, step: Step) -> None:
        """The step was not decoded."""
        self._without_drafts(step.pieces)

    def follow(self, sequence: Sequence, token: int) -> bool:
        """`token` comes next in `sequence`. Whether it had been guessed: then it is in the cache already, and so are
        the guesses behind it."""
        if sequence.guessed == token:
            sequence.n_drafted -= 1
            return True
        self.settle(sequence)
        sequence.tokens.append(token)
        return False

    def _give_way(self, sequence: Sequence) -> None:
        assert sequence.slot is not None
        self.running.remove(sequence)
        self.kv.release(sequence.slot)
        sequence.slot = None
        self.add(sequence)

    def relieve(self) -> bool:
        """llama.cpp found no cells for a step where the books said there are some (a sliding window pads): evict
        every cached prefix, or make the youngest sequence wait. False if there is nothing left to give."""
        if self.kv.evict_all():
            return True
        if len(self.running) > 1:
            self._give_way(max(self.running, key=lambda sequence: sequence.order))
            return self.kv.evict_all()
        return False

    def commit(self, step: Step) -> list[tuple[int, Sequence]]:
        """The step was decoded. Gives (index of its piece, sequence) for every sequence that now wants a token; a
        prompt shared by several choices has become one sequence each."""
        ready: list[tuple[int, Sequence]] = []
        self.kv.stepped(sum(piece.n for piece in step.pieces) + step.filler.n)
        for index, piece in enumerate(step.pieces):
            sequence = piece.sequence
            assert sequence.slot is not None
            self.kv.extend(sequence.slot, piece.n)
            if self._parked is not None and sequence.slot.n in sequence.slot.checkpoints[:1]:
                self._parked.reached(sequence.slot)
            if sequence.n_missing == 0:
                ready.append((index, sequence))
                ready.extend((index, other) for other in self._split(sequence))
        return ready

    def _split(self, sequence: Sequence) -> Iterator[Sequence]:
        assert sequence.slot is not None
        extra = sequence.choices[1:]
        del sequence.choices[1:]
        for choice in extra:
            tokens = sequence.tokens.copy(spare=min(sequence.job.max_tokens, 256))
            slot = self.kv.fork(sequence.slot, tokens, room=min(sequence.n_to_come, ROOM))
            other = Sequence(sequence.job, tokens, [choice], slot)
            self.running.append(other)
            yield other

    def finish(self, sequence: Sequence) -> None:
        """Give up a running sequence's place; what it holds stays cached."""
        assert sequence.slot is not None
        self.settle(sequence)
        self.running.remove(sequence)
        self.kv.release(sequence.slot)
        sequence.slot = None

    def cancel(self, request_id: int, choice: int | None = None) -> list[Choice]:
        """Take a request (or one of its choices) out, wherever it is. Gives the choices that ended."""
        ended: list[Choice] = []
        for sequence in [*self.waiting, *self.running]:
            if sequence.job.request.id != request_id:
                continue
            gone = [one for one in sequence.choices if choice is None or one.index == choice]
            sequence.choices = [one for one in sequence.choices if one not in gone]
            ended += gone
            if not sequence.choices:
                if sequence.slot is None:
                    self.waiting.remove(sequence)
                else:
                    self.finish(sequence)
        return ended

    def clear(self) -> list[Sequence]:
        """Forget everything, the cache included, after a failed step. Gives the sequences there were."""
        sequences = [*self.waiting, *self.running]
        self.waiting, self.running = [], []
        self.kv.clear()
        self._scores.clear()
        return sequences
