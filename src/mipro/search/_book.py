"""What a search has asked and been told, made visible in the order of its decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mipro.search._base import Job, Scores
    from mipro.search._space import Candidate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

MAX_TRIES = 2
"""How often a cell may be asked: once, and once more if its score came back missing."""


class Table:
    """Known scores, candidate x example; NaN where unknown.

    Args:
        num_examples: Number of columns.
    """

    def __init__(self, num_examples: int) -> None:
        self.rows: dict[Candidate, int] = {}
        """Row of each candidate seen, in the order they were met."""
        self._values: Floats = np.full((16, num_examples), np.nan)
        self._counts: Floats = np.zeros(16)
        self._sums: Floats = np.zeros(16)

    @property
    def values(self) -> Floats:
        """Scores `[len(rows), num_examples]`; a view."""
        return self._values[: len(self.rows)]

    @property
    def counts(self) -> Floats:
        """Number of known scores of each row; a view."""
        return self._counts[: len(self.rows)]

    @property
    def sums(self) -> Floats:
        """Sum of the known scores of each row; a view."""
        return self._sums[: len(self.rows)]

    def row(self, candidate: Candidate) -> int:
        """Row index of a candidate, made on first use."""
        found = self.rows.get(candidate)
        if found is None:
            found = self.rows[candidate] = len(self.rows)
            if found >= len(self._values):
                more = max(16, len(self._values) // 2)
                width = self._values.shape[1]
                self._values = np.concatenate([self._values, np.full((more, width), np.nan)])
                self._counts = np.concatenate([self._counts, np.zeros(more)])
                self._sums = np.concatenate([self._sums, np.zeros(more)])
        return found

    def known(self, candidate: Candidate) -> Floats:
        """Scores `[num_examples]` of one candidate, NaN where unknown."""
        found = self.rows.get(candidate)
        return np.full(self._values.shape[1], np.nan) if found is None else self._values[found]

    def put(self, job: Job, scores: Sequence[float | None]) -> None:
        """Enter the scores of one job; missing ones stay unknown."""
        row = self.row(job.candidate)
        for example, score in zip(job.examples, scores, strict=True):
            if score is not None:
                self._values[row, example] = score
                self._counts[row] += 1
                self._sums[row] += score

    def copy(self) -> Table:
        """Return an independent copy."""
        other = Table(0)
        other.rows = dict(self.rows)
        other._values, other._counts, other._sums = (
            x.copy() for x in (self._values, self._counts, self._sums)
        )
        return other


@dataclass(slots=True)
class _Decision:
    jobs: list[Job]
    scores: list[list[float | None] | None]

    @property
    def complete(self) -> bool:
        return all(scores is not None for scores in self.scores)


class Book:
    """Keeps decisions, hands their results out in order and guards the rules of `Search`.

    Args:
        num_examples: Size of the validation set.
        budget: Most cells that may be asked.
        lookahead: How many decisions may wait for scores at a time.
        order: Examples in the order the caller wants them met, a permutation of `range(num_examples)`.
    """

    def __init__(
        self, *, num_examples: int, budget: int, lookahead: int, order: Sequence[int] | None
    ) -> None:
        self.num_examples = num_examples
        self.budget = budget
        self.lookahead = lookahead
        self.order: Ints = np.arange(num_examples) if order is None else np.asarray(order, dtype=np.intp)
        self.table = Table(num_examples)
        """Results visible to the next decision."""
        self.spent = 0
        self._decisions: list[_Decision] = []
        self._absorbed = 0
        self._open: dict[Job, tuple[int, int]] = {}
        self._tries: dict[Candidate, npt.NDArray[np.uint8]] = {}
        self._blocked: dict[Candidate, npt.NDArray[np.bool_]] = {}
        self._met: dict[Candidate, int] = {}
        """How many are blocked, which is asked for too often to be counted each time."""

    @property
    def left(self) -> int:
        """Cells that may still be asked."""
        return self.budget - self.spent

    @property
    def next_decision(self) -> int:
        """Index of the decision to be made next, counted from 0."""
        return len(self._decisions)

    def advance(self) -> list[tuple[Job, list[float | None]]]:
        """Make the results visible that the next decision may use.

        Returns:
            Newly visible jobs with their scores, in the order of their decisions.

        Raises:
            UserError: `lookahead` decisions are still open.
        """
        fresh: list[tuple[Job, list[float | None]]] = []
        while self._absorbed <= self.next_decision - self.lookahead:
            decision = self._decisions[self._absorbed]
            if not decision.complete:
                raise UserError(
                    f"`ask` may be called {self.lookahead} times (`lookahead`) before the scores of decision "
                    f"{self._absorbed} are told, but this would be call {self.next_decision + 1}; "
                    "tell its scores first."
                )
            for job, scores in zip(decision.jobs, decision.scores, strict=True):
                if scores is not None:
                    self._absorb(job, scores)
                    fresh.append((job, scores))
            self._absorbed += 1
        return fresh

    def free(self, candidate: Candidate) -> Ints:
        """Examples of a candidate that may be asked, in the order to meet them."""
        blocked = self._blocked.get(candidate)
        return self.order if blocked is None else self.order[~blocked[self.order]]

    def met(self, candidate: Candidate) -> int:
        """How many examples of a candidate were asked for and did not come back missing."""
        return self._met.get(candidate, 0)

    def asked(self) -> Collection[Candidate]:
        """Candidates of which anything was asked for."""
        return self._blocked.keys()

    def under_way(self) -> dict[Candidate, int]:
        """Count the scores asked of each candidate that the next decision may not see."""
        found: dict[Candidate, int] = {}
        for decision in self._decisions[self._absorbed :]:
            for job in decision.jobs:
                found[job.candidate] = found.get(job.candidate, 0) + len(job.examples)
        return found

    def record(self, jobs: list[Job]) -> list[Job]:
        """Register a decision and count its cells; an empty one is none."""
        if not jobs:
            return []
        index = len(self._decisions)
        for position, job in enumerate(jobs):
            tries = self._tries.setdefault(job.candidate, np.zeros(self.num_examples, np.uint8))
            blocked = self._blocked.setdefault(job.candidate, np.zeros(self.num_examples, np.bool_))
            cells = list(job.examples)
            tries[cells] += 1
            blocked[cells] = True
            self._met[job.candidate] = self.met(job.candidate) + len(cells)
            self.spent += len(cells)
            self._open[job] = (index, position)
        self._decisions.append(_Decision(list(jobs), [None] * len(jobs)))
        return list(jobs)

    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """Take scores in; all are checked before any is kept."""
        if len(jobs) != len(scores):
            raise UserError(
                f"`scores` must hold one list for each job, but got {len(scores)} for {len(jobs)} jobs."
            )
        checked = [self._check(job, row) for job, row in zip(jobs, scores, strict=True)]
        if len(set(jobs)) < len(jobs):
            raise UserError(f"`jobs` must hold each job once, but got {list(jobs)!r}; tell its scores once.")
        for job, row in zip(jobs, checked, strict=True):
            index, position = self._open.pop(job)
            self._decisions[index].scores[position] = row

    def everything(self) -> Table:
        """Table of all results told so far, those included that the next decision may not see yet."""
        late = [
            (job, scores)
            for decision in self._decisions[self._absorbed :]
            for job, scores in zip(decision.jobs, decision.scores, strict=True)
            if scores is not None
        ]
        if not late:
            return self.table
        table = self.table.copy()
        for job, scores in late:
            table.put(job, scores)
        return table

    def _absorb(self, job: Job, scores: list[float | None]) -> None:
        self.table.put(job, scores)
        missing = [example for example, score in zip(job.examples, scores, strict=True) if score is None]
        if missing:
            again = [example for example in missing if self._tries[job.candidate][example] < MAX_TRIES]
            self._blocked[job.candidate][again] = False
            self._met[job.candidate] -= len(again)

    def _check(self, job: Job, row: Sequence[float | None]) -> list[float | None]:
        if job not in self._open:
            raise UserError(
                f"`jobs` must be jobs that `ask` returned and that were not told yet, but got {job!r}."
            )
        try:
            values = [None if score is None else float(score) for score in row]
        except (TypeError, ValueError):
            values = [math.nan]
        if any(value is not None and not math.isfinite(value) for value in values):
            raise UserError(
                f"`scores` must be lists of finite numbers or None, but got {row!r} for candidate "
                f"{job.candidate!r}; use None for a missing score."
            )
        if len(values) != len(job.examples):
            raise UserError(
                f"`scores` must hold {len(job.examples)} values for {job!r}, but got {len(values)}; "
                "use None for a missing score."
            )
        return values
