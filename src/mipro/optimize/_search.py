"""Stage 3: the loop between the search and the evaluations."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mipro.errors import BudgetExhausted
from mipro.optimize._blas import one_thread
from mipro.optimize._result import TrialRecord
from mipro.runs import DecisionRecord
from mipro.search import Job, Recallable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mipro.optimize._space import CandidateSpace
    from mipro.runs import EvaluationRecord, Evaluator, Measurement, Run
    from mipro.search import Search

COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class _Decision:
    number: int
    jobs: list[Job]
    measurements: list[Measurement]


def run_search(
    search: Search,
    space: CandidateSpace,
    evaluator: Evaluator,
    run: Run,
    *,
    lookahead: int,
    on_trial: Callable[[TrialRecord], None],
) -> tuple[tuple[TrialRecord, ...], str]:
    """Ask and tell until the search is finished or the budget is used up.

    Up to `lookahead` decisions are under way at once. They are told in the order they
    were asked, however the answers come in, so that timing never changes a decision.

    Args:
        search: Told every score; its recommendation is the caller's to read afterwards.
        space: Builds the candidates' programs.
        evaluator: Measures them.
        run: Keeps every decision before it is acted on.
        lookahead: As the search was created with.
        on_trial: Called after each trial.

    Returns:
        The trials in order, and why the search ended.
    """
    trials: list[TrialRecord] = []
    waiting: deque[_Decision] = deque()
    recorded = run.decisions()
    asked = 0
    evaluations = 0
    finished = False
    reason = ""
    while True:
        while not finished and not reason and len(waiting) < lookahead:
            jobs = _next(search, recorded)
            if not jobs:
                finished = True
                break
            run.decide(_record(asked, jobs, search))
            waiting.append(_Decision(asked, jobs, [_start(evaluator, space, job) for job in jobs]))
            asked += 1
        if not waiting:
            return _complete(trials, space, evaluator)
        decision = waiting.popleft()
        # Once the budget has ended, what the decisions behind this one have measured still counts.
        reason = _wait_for(decision) or reason
        scores = _scores(decision, run, final=not reason)
        search.tell(decision.jobs, scores)
        for job, found in zip(decision.jobs, scores, strict=True):
            evaluations += len(job.examples)
            trial = TrialRecord(
                len(trials) + 1, job.candidate, job.examples, tuple(found), job.reason, evaluations
            )
            trials.append(trial)
            on_trial(trial)
        if reason and not waiting:
            return tuple(trials), reason


def _next(search: Search, recorded: Iterator[DecisionRecord]) -> list[Job]:
    """Return the next decision, recalled where it was made before and need not be made again."""
    known = next(recorded, None)
    if known is None or not known.state or not isinstance(search, Recallable):
        with one_thread():
            return search.ask()
    jobs = [Job(tuple(c), tuple(examples), reason) for c, examples, reason in json.loads(known.jobs)]
    search.recall(jobs, json.loads(known.state))
    return jobs


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


def _record(number: int, jobs: list[Job], search: Search) -> DecisionRecord:
    listed = [[list(job.candidate), list(job.examples), job.reason] for job in jobs]
    state = json.dumps(search.state(), separators=(",", ":")) if isinstance(search, Recallable) else ""
    return DecisionRecord(number, json.dumps(listed, separators=(",", ":")), state)


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
            leader = max(means, key=lambda candidate: means[candidate])
            self._leader = f"leader {leader} at {100 * means[leader]:.1f} %"
