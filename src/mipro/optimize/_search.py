"""Stage 3: the loop between the search and the evaluations."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mipro.errors import BudgetExhausted
from mipro.optimize._own_search import SPENT, checked_jobs
from mipro.optimize._result import TrialRecord
from mipro.runs import DecisionRecord, damaged
from mipro.search import Job, Recallable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.optimize._own_search import Limits
    from mipro.optimize._rounds import Rounds
    from mipro.optimize._space import CandidateSpace
    from mipro.runs import EvaluationRecord, Evaluator, Measurement, Run
    from mipro.search import Search

COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class _Decision:
    number: int
    jobs: list[Job]
    measurements: list[Measurement]
    round: int
    """Rounds of learning held before it was asked."""


def run_search(
    search: Search,
    space: CandidateSpace,
    evaluator: Evaluator,
    run: Run,
    *,
    limits: Limits,
    lookahead: int,
    on_trial: Callable[[TrialRecord], None],
    rounds: Rounds,
) -> tuple[tuple[TrialRecord, ...], str]:
    """Ask and tell until the search is finished or the budget is used up.

    Up to `lookahead` decisions are under way at once. They are told in the order they
    were asked, however the answers come in, so that timing never changes a decision.

    Args:
        search: Told every score; its recommendation is the caller's to read afterwards.
        space: Builds the candidates' programs.
        evaluator: Measures them.
        run: Keeps every decision before it is acted on.
        limits: As the search was created with.
        lookahead: As the search was created with.
        on_trial: Called after each trial.
        rounds: Rounds of learning, held while the search goes on.

    Returns:
        The trials in order, and why the search ended.

    Raises:
        UserError: What the search asks for can't be run.
    """
    loop = _Loop(search, space, evaluator, run, limits, lookahead)
    while True:
        loop.ask()
        if loop.waiting:
            for trial in loop.tell():
                on_trial(trial)
        if not loop.reason:
            loop.learn(rounds)
        if loop.waiting:
            continue
        if loop.reason:
            return tuple(loop.trials), loop.reason
        if loop.finished and not rounds.is_coming:
            return _complete(loop.trials, space, evaluator)


class _Loop:
    """What is under way between a search and the evaluations."""

    def __init__(
        self,
        search: Search,
        space: CandidateSpace,
        evaluator: Evaluator,
        run: Run,
        limits: Limits,
        lookahead: int,
    ) -> None:
        self._search = search
        self._space = space
        self._evaluator = evaluator
        self._run = run
        self._limits = limits
        self._lookahead = lookahead
        self._records = run.decisions()
        self._recorded: DecisionRecord | None = None
        self._asked = self._asked_cells = 0
        self._round = 0
        self._adopt_at = 0
        """Decisions that must be told before what a round has found is taken over."""
        self.trials: list[TrialRecord] = []
        self.waiting: deque[_Decision] = deque()
        self.evaluations = 0
        """Evaluations told."""
        self.finished = False
        """Whether the search asked for nothing when it was last asked."""
        self.reason = ""
        """Which budget ended the search, if one did."""

    def ask(self) -> None:
        """Ask for decisions and begin them, as many as may be under way."""
        while not self.finished and not self.reason and len(self.waiting) < self._lookahead:
            jobs = self._next()
            if not jobs:
                self.finished = True
                return
            cells = sum(len(job.examples) for job in jobs)
            if self._asked_cells + cells > self._limits.budget:
                self.reason = SPENT
                return
            self._run.decide(_record(self._asked, jobs, self._search, self._round))
            begun = [_start(self._evaluator, self._space, job) for job in jobs]
            self.waiting.append(_Decision(self._asked, jobs, begun, self._round))
            self._asked += 1
            self._asked_cells += cells

    def _next(self) -> list[Job]:
        """Return the next decision, recalled where it was made before and need not be made again."""
        self._recorded = self._recorded or next(self._records, None)
        known, search = self._recorded, self._search
        if known is not None and known.state and isinstance(search, Recallable):
            try:
                held, state = json.loads(known.state)
                jobs = [
                    Job(tuple(c), tuple(examples), reason) for c, examples, reason in json.loads(known.jobs)
                ]
            except (TypeError, ValueError) as error:
                raise damaged("decisions", error) from error
            if held == self._round:
                self._recorded = None
                search.recall(jobs, state)
                return jobs
            # It was made after a round that is still to come, since the search asked for nothing here.
        return checked_jobs(search.ask(), self._space.space, self._limits.num_examples)

    def tell(self) -> list[TrialRecord]:
        """Wait for the oldest decision, tell the search, and return its trials."""
        decision = self.waiting.popleft()
        # Once the budget has ended, what the decisions behind this one have measured still counts.
        self.reason = _wait_for(decision) or self.reason
        scores = _scores(decision, self._run, final=self.reason in {"", SPENT})
        self._search.tell(decision.jobs, scores)
        told = []
        for job, found in zip(decision.jobs, scores, strict=True):
            self.evaluations += len(job.examples)
            number = len(self.trials) + 1
            trial = TrialRecord(
                number,
                job.candidate,
                job.examples,
                tuple(found),
                job.reason,
                self.evaluations,
                decision.round,
            )
            self.trials.append(trial)
            told.append(trial)
        return told

    def learn(self, rounds: Rounds) -> None:
        """Begin the round that is due, or take over what the one that was begun has found.

        That is done once all is told that was under way when the round began, whether or not the
        round has ended by then, so that timing changes nothing. The search goes on meanwhile.
        """
        try:
            if not rounds.is_coming:
                is_ending = self.finished and self.waiting
                if is_ending or not rounds.is_due(self._asked_cells, finished=self.finished):
                    return
                rounds.begin(self.trials, self.evaluations)
                self._adopt_at = self._asked
            if self._asked - len(self.waiting) >= self._adopt_at:
                rounds.adopt()
                self._round = len(rounds.held)
                self.finished = False
        except BudgetExhausted as error:
            self.reason = f"budget: {error.resource}"


def _start(evaluator: Evaluator, space: CandidateSpace, job: Job) -> Measurement:
    return evaluator.start(space.program(job.candidate), job.examples, stage="search")


def _scores(decision: _Decision, run: Run, *, final: bool) -> list[list[float | None]]:
    """Return what the search is told, the same at every replay; None where infrastructure failed."""
    found = [[r.score if r else None for r in m.so_far()] for m in decision.measurements]
    if not final:
        return found
    missing = [
        (j, example)
        for j, (job, scores) in enumerate(zip(decision.jobs, found, strict=True))
        for example, score in zip(job.examples, scores, strict=True)
        if score is None
    ]
    unknown = run.unknown(decision.number, missing)
    return [
        [None if (j, e) in unknown else score for e, score in zip(job.examples, scores, strict=True)]
        for j, (job, scores) in enumerate(zip(decision.jobs, found, strict=True))
    ]


def _complete(
    trials: list[TrialRecord], space: CandidateSpace, evaluator: Evaluator
) -> tuple[tuple[TrialRecord, ...], str]:
    """Try what is still missing once more, for the record: the search has decided without it."""
    told: list[TrialRecord] = []
    for trial in trials:
        missing = [e for e, score in zip(trial.examples, trial.scores, strict=True) if score is None]
        if missing:
            found = dict(zip(missing, _late(trial, missing, space, evaluator), strict=True))
            scores = (found.get(e, s) for e, s in zip(trial.examples, trial.scores, strict=True))
            trial = replace(trial, scores=tuple(scores))  # noqa: PLW2901 - the same trial, completed
        told.append(trial)
    return tuple(told), COMPLETE


def _late(
    trial: TrialRecord, missing: list[int], space: CandidateSpace, evaluator: Evaluator
) -> list[float | None]:
    measurement = evaluator.start(space.program(trial.candidate), missing, stage="search")
    try:
        return [record.score for record in measurement.records()]
    except BudgetExhausted:
        return [record.score if record else None for record in measurement.so_far()]


def _wait_for(decision: _Decision) -> str:
    """Wait for a decision's evaluations; say which budget ended them, if one did."""
    try:
        for measurement in decision.measurements:
            measurement.records()
    except BudgetExhausted as error:
        return f"budget: {error.resource}"
    return ""


def _record(number: int, jobs: list[Job], search: Search, held: int) -> DecisionRecord:
    listed = [[list(job.candidate), list(job.examples), job.reason] for job in jobs]
    state = [held, search.state()] if isinstance(search, Recallable) else None
    written = "" if state is None else json.dumps(state, separators=(",", ":"))
    return DecisionRecord(number, json.dumps(listed, separators=(",", ":")), written)


class Scoreboard:
    """Counts evaluations for the progress bar and knows who leads; called from any thread.

    The leader shown is the best plain mean among the candidates measured on at least half as
    many examples as the one measured most; the search's own verdict costs too much to ask for
    after every trial.
    """

    def __init__(self, total: int, report: Callable[[int, int, str], None]) -> None:
        self._total = total
        self._report = report
        self._done = 0
        self._sums: dict[tuple[int, ...], tuple[float, int]] = {}
        self._leader = ""
        self._lock = threading.Lock()

    def evaluated(self, _record: EvaluationRecord) -> None:
        """Note one more evaluation."""
        with self._lock:
            self._done += 1
            done = self._done
        self._report(done, self._total, self._leader)

    def tried(self, trial: TrialRecord) -> None:
        """Note the scores of a trial."""
        known = [score for score in trial.scores if score is not None]
        total, count = self._sums.get(trial.candidate, (0.0, 0))
        self._sums[trial.candidate] = (total + sum(known), count + len(known))
        most = max(count for _, count in self._sums.values())
        means = {c: total / n for c, (total, n) in self._sums.items() if n and 2 * n >= most}
        if means:
            self._leader = f"best so far {100 * max(means.values()):.1f} %"
