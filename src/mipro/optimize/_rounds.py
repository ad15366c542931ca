"""Rounds of learning: while the search runs, more is proposed, from what it has found so far."""

from __future__ import annotations

import contextvars
import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from mipro.context import context
from mipro.optimize._demo_sets import DemoLimits, recombine
from mipro.optimize._settings import PROBED, ROUNDS, new_choices
from mipro.optimize._traces import every_predictor, shows
from mipro.propose import Lessons, Mistake, ProposalSettings, ScoredInstruction, propose_more
from mipro.search import Believes, beliefs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.optimize._job import Job
    from mipro.optimize._result import TrialRecord
    from mipro.optimize._space import CandidateSpace
    from mipro.runs import EvaluationRecord, Evaluator, Run
    from mipro.search import Beliefs, Candidate, Search

SHOWN = 3
"""Mistakes handed on to the proposer."""
LEAST_LEFT = 0.1
"""Part of the search's ceiling that must be left for new choices to be worth proposing."""


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round of learning."""

    number: int
    """Number of the round, from 1."""
    evaluations: int
    """Evaluations that the search had been told when it began."""
    leader: tuple[int, ...]
    """The candidate that led, whose mistakes were looked at."""
    probed: int
    """Training examples it was run on."""
    mistakes: int
    """Those it got wrong."""
    instructions: tuple[tuple[int, ...], ...]
    """New choices of instruction, by predictor."""
    demo_sets: tuple[tuple[int, ...], ...]
    """New choices of demo set, by predictor."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a round has found, to be put into the space."""

    record: RoundRecord
    proposals: Any
    demo_sets: Any


class Rounds:
    """Holds the rounds of one search; a context manager, at whose end none is under way.

    When a round is due depends on nothing but the evaluations asked for, and what it proposes on
    nothing but the scores told, so that a replay holds the same rounds at the same decisions. It is
    held while the search goes on, except where a budget may end the run in the middle of it, since then
    the order of the calls counts, and where the program is to be run by the caller's thread alone.

    Args:
        job: What is optimized.
        run: Pays, and keeps what was answered.
        space: Grows by what is proposed.
        search: Says what it believes; told nothing.
        evaluator: Of the search; the evaluations of a round take their turns on its threads.
    """

    def __init__(
        self, job: Job, run: Run, space: CandidateSpace, search: Search, evaluator: Evaluator
    ) -> None:
        self._job = job
        self._run = run
        self._space = space
        self._search = search
        self._evaluator = evaluator
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="mipro-round")
        self._coming: Future[_Found] | None = None
        self._is_loss = False
        """Whether the metric gives negative scores, so that 0 is the best there is."""
        count, ceiling = job.plan.propose_rounds, job.plan.evaluations
        self._due = [ceiling * (k + 1) / (count + 1) for k in range(count)]
        self.held: list[RoundRecord] = []
        """The rounds held so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After the second Ctrl-C nothing is waited for.
        self._aside.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)

    def is_due(self, evaluations: int, *, finished: bool) -> bool:
        """Tell whether the next round is due.

        Args:
            evaluations: Evaluations that the search has asked for.
            finished: Whether it asks for no more. A search with a model, which ends when nothing
                is left to gain, has its rounds then; others would not go on with what they add.
        """
        left = 1 - evaluations / self._job.plan.evaluations
        if len(self.held) == len(self._due) or left < LEAST_LEFT:
            return False
        if finished:
            return isinstance(self._search, Believes)
        return evaluations >= self._due[len(self.held)]

    @property
    def is_coming(self) -> bool:
        """Whether a round was begun that was not adopted yet."""
        return self._coming is not None

    def begin(self, trials: Sequence[TrialRecord], evaluations: int) -> None:
        """Begin to look for instructions and demo sets, by what the search believes now.

        Args:
            trials: Trials told so far.
            evaluations: Evaluations told so far.

        Raises:
            BudgetExhausted: The budget ended.
            RunStopped: The run may not or can't go on.
        """
        believed = beliefs(self._search, self._space.space, [(t.candidate, t.scores) for t in trials])
        leader = self._search.recommend().candidate
        history = self._history(believed, trials) if believed else ()
        self._is_loss = any(score is not None and score < 0 for trial in trials for score in trial.scores)
        work = partial(self._hold, believed, leader, history, evaluations)
        if self._run.limited or self._job.num_threads == 1:
            found, self._coming = work(), Future()
            self._coming.set_result(found)
        else:
            self._coming = self._aside.submit(contextvars.copy_context().run, work)

    def adopt(self) -> None:
        """Put what the round has found into the space; waits for it.

        Raises:
            BudgetExhausted: The budget ended; the space is as it was.
            RunStopped: The run may not or can't go on.
        """
        coming, self._coming = self._coming, None
        if coming is not None:
            found = coming.result()
            self._space.grow(found.proposals, found.demo_sets)
            self.held.append(found.record)

    def _hold(
        self,
        believed: Beliefs | None,
        leader: Candidate,
        history: tuple[ScoredInstruction, ...],
        evaluations: int,
    ) -> _Found:
        number = len(self.held) + 1
        proposals, sets = before = self._space.proposals, self._space.demo_sets
        probed, mistakes = self._mistakes(leader, number) if believed else (0, [])
        if believed:
            proposals = self._propose(Lessons(number, history, tuple(mistakes[:SHOWN])))
            sets = self._recombine(believed, number)
        record = RoundRecord(
            number,
            evaluations,
            leader,
            probed,
            len(mistakes),
            _added(before[0].instructions, proposals.instructions),
            _added(before[1].sets, sets.sets),
        )
        return _Found(record, proposals, sets)

    def _mistakes(self, leader: Candidate, number: int) -> tuple[int, list[Mistake]]:
        """Run the leader on training examples that it has not as demos; return how many, and the failures."""
        job = self._job
        program = self._space.program(leader)
        demos = [demo for predictor in every_predictor(program) for demo in predictor.demos]
        pool = [i for i, e in enumerate(job.plan.demo_pool) if not any(shows(demo, e) for demo in demos)]
        chosen = job.plan.stream(f"mistakes {number}").sample(pool, min(PROBED, len(pool)))
        evaluator = self._evaluator.beside(job.plan.demo_pool, split="train")
        records = evaluator.start(program, chosen, stage=ROUNDS).records()
        # What is missing must be missing in every replay, though the ledger may have it by then.
        missing = [(0, record.example) for record in records if record.score is None]
        unknown = self._run.unknown(-number, missing)
        known = [
            record for record in records if record.score is not None and (0, record.example) not in unknown
        ]
        best = max((record.score or 0.0 for record in known), default=0.0)
        wrong = [
            record for record in known if (record.score or 0.0) < best or not (record.score or self._is_loss)
        ]
        wrong.sort(key=lambda record: record.score or 0.0)
        return len(known), [self._mistake(record) for record in wrong]

    def _mistake(self, record: EvaluationRecord) -> Mistake:
        example = self._job.plan.demo_pool[record.example]
        return Mistake(example, json.loads(record.prediction), record.feedback)

    def _history(self, believed: Beliefs, trials: Sequence[TrialRecord]) -> tuple[ScoredInstruction, ...]:
        """Return the instructions tried so far with what is believed of them."""
        return tuple(
            ScoredInstruction(p, text, believed[2 * p][choice])
            for p, texts in enumerate(self._space.proposals.instructions)
            for choice, text in enumerate(texts)
            if any(trial.candidate[2 * p] == choice for trial in trials)
        )

    def _propose(self, lessons: Lessons) -> Any:
        job, before = self._job, self._space.proposals
        if job.plan.num_instructions < 2:  # noqa: PLR2004 - nothing beside the original was wanted
            return before
        asked_for = {name: job.proposer[name] for name in _SETTINGS if name in job.proposer}
        with context(gate=self._run.gate(ROUNDS, patient=True)):
            return propose_more(
                job.student,
                job.plan.trainset,
                before,
                prompt_lm=job.prompt_lm,
                settings=ProposalSettings(
                    max(map(len, before.instructions)) + new_choices(job.plan.num_instructions),
                    job.init_temperature,
                    frozen=job.frozen,
                    **asked_for,
                ),
                rng=job.plan.stream(f"proposals of round {lessons.round}"),
                lessons=lessons,
                demos=self._space.demo_sets.grounding,
                num_threads=job.num_threads,
            )

    def _recombine(self, believed: Beliefs, number: int) -> Any:
        plan, before = self._job.plan, self._space.demo_sets
        if plan.num_demo_sets < 2:  # noqa: PLR2004 - demos are not optimized
            return before
        return recombine(
            before,
            [believed[2 * p + 1] for p in range(len(before.sets))],
            count=new_choices(plan.num_demo_sets),
            limits=DemoLimits(plan.max_bootstrapped_demos, plan.max_labeled_demos, self._job.max_demo_tokens),
            rng=plan.stream(f"demos of round {number}"),
        )


_SETTINGS = ("tip_aware", "fewshot_aware", "keep", "max_instruction_tokens")


def _added(before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(len(old), len(new))) for old, new in zip(before, after, strict=True))
