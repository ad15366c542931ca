"""The loop of the paper and of DSPy: minibatch trials with a full evaluation now and then."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from mipro.errors import StateError
from mipro.search._base import Job, Recallable, Recommendation, Scores
from mipro.search._estimate import best_of, describe, mean_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.search._book import Book
    from mipro.search._samplers import Sampler
    from mipro.search._space import Candidate, Space

NO_TRIAL = -1
"""Trial number of full evaluations."""


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """How the trials are run; names and meaning as in MIPROv2."""

    num_trials: int
    """Trials, full evaluations not counted."""
    minibatch: bool = True
    """Whether a trial meets a minibatch or the whole validation set."""
    minibatch_size: int = 35
    """Examples of a minibatch."""
    minibatch_full_eval_steps: int = 5
    """A full evaluation follows every so many trials."""


@dataclass(slots=True)
class _Trial:
    """What a decision was for: its number, its candidate and all examples that count for it."""

    number: int
    candidate: Candidate
    examples: tuple[int, ...] = field(default=())


class TrialSearch(Recallable):
    """MIPROv2's search as published, with any sampler.

    A full evaluation of the original comes first and is told to the sampler. Each trial draws a candidate
    and a fresh random minibatch; after every `minibatch_full_eval_steps` trials and after the last one, the
    candidate with the best average over its minibatch scores that has none yet gets a full evaluation,
    which is told to the sampler as one more trial. The best full evaluation is recommended.

    No cell is asked twice: scores already known are taken from the table, and a trial that is known
    entirely costs nothing and is followed by the next one at once. The last job is cut to the budget.

    Args:
        space: What to choose from.
        book: The rules' keeper.
        sampler: Where candidates come from.
        settings: Number and kind of trials.
        seed: Seed of the minibatches.

    References:
        Opsahl-Ong et al., 2024, arXiv:2406.11695, section 4; `dspy.MIPROv2`.
    """

    def __init__(
        self, space: Space, book: Book, sampler: Sampler, settings: TrialSettings, *, seed: int
    ) -> None:
        self._space = space
        self._book = book
        self._sampler = sampler
        self._settings = settings
        self._rng = Random(seed)  # noqa: S311 - no cryptography
        self._trials_made = 0
        self._full_due = False
        self._pending: dict[int, list[_Trial]] = {}
        self._averages: dict[Candidate, list[float]] = {}
        self._met: dict[Candidate, None] = {}
        self._full: set[Candidate] = set()
        self._suggested: list[Candidate] = []
        self._recalled: list[Candidate] = []

    def ask(self) -> list[Job]:
        """See `Search.ask`."""
        self._suggested = []
        self._learn()
        if self._book.next_decision == 0:
            self._full.add(self._space.original)
            return self._issue(_Trial(NO_TRIAL, self._space.original, self._all()), "original")
        while self._book.left > 0:
            if self._full_due:
                self._full_due = False
                jobs = self._full_evaluation()
            elif self._trials_made < self._settings.num_trials:
                jobs = self._next_trial()
            else:
                return []
            if jobs:
                return jobs
        return []

    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """See `Search.tell`."""
        self._book.tell(jobs, scores)

    def state(self) -> Any:
        """Return the candidates that were drawn for the decision; what is known entirely is not asked."""
        return self._suggested

    def recall(self, jobs: Sequence[Job], state: Any) -> None:
        """Decide again, but for the drawing of candidates, which is what costs time."""
        self._recalled = [tuple(candidate) for candidate in state]
        asked = self.ask()
        if asked != list(jobs):
            raise StateError(
                f"a recorded decision must be one of this search, but {list(jobs)!r} is not {asked!r}; make "
                "the search with the same space, settings and seed."
            )

    def recommend(self) -> Recommendation:
        """Return the best full evaluation, the first one of equals."""
        table = self._book.everything()
        return describe(table, best_of(table, self._full, otherwise=self._space.original))

    def _learn(self) -> None:
        """Tell the sampler what became visible, in the order of the decisions."""
        before = self._book.next_decision - self._book.lookahead
        self._book.advance()
        for decision in [index for index in self._pending if index <= before]:
            for trial in self._pending.pop(decision):
                self._finish(trial)

    def _finish(self, trial: _Trial) -> None:
        known = self._book.table.known(trial.candidate)[list(trial.examples)]
        mean = mean_known(known)
        if trial.number == NO_TRIAL:
            if not math.isnan(mean):
                self._sampler.add(trial.candidate, mean)
            return
        self._sampler.finish(trial.number, None if math.isnan(mean) else mean)
        if not math.isnan(mean):
            self._averages.setdefault(trial.candidate, []).append(mean)

    def _next_trial(self) -> list[Job]:
        self._trials_made += 1
        steps = self._settings.minibatch_full_eval_steps
        last = self._trials_made == self._settings.num_trials
        self._full_due = self._settings.minibatch and (last or self._trials_made % steps == 0)
        candidate = self._suggest(self._trials_made)
        if not self._settings.minibatch:
            self._full.add(candidate)
            return self._issue(_Trial(self._trials_made, candidate, self._all()), "full evaluation")
        self._met[candidate] = None
        size = min(self._settings.minibatch_size, self._book.num_examples)
        batch = tuple(self._rng.sample(range(self._book.num_examples), size))
        return self._issue(_Trial(self._trials_made, candidate, batch), "minibatch")

    def _suggest(self, trial: int) -> Candidate:
        if self._recalled:
            candidate = self._recalled.pop(0)
            self._sampler.recall(trial, candidate)
        else:
            candidate = self._sampler.suggest(trial)
        self._suggested.append(candidate)
        return candidate

    def _full_evaluation(self) -> list[Job]:
        waiting = [candidate for candidate in self._met if candidate not in self._full]
        if not waiting:
            return []
        best = max(waiting, key=self._average)
        self._full.add(best)
        return self._issue(_Trial(NO_TRIAL, best, self._all()), "full evaluation of the best average")

    def _average(self, candidate: Candidate) -> float:
        values = self._averages.get(candidate)
        return sum(values) / len(values) if values else -math.inf

    def _all(self) -> tuple[int, ...]:
        return tuple(int(example) for example in self._book.order)

    def _issue(self, trial: _Trial, reason: str) -> list[Job]:
        """Ask for the unknown cells of a trial; none are left to ask when all are known or under way."""
        free = np.zeros(self._book.num_examples, dtype=bool)
        free[self._book.free(trial.candidate)] = True
        wanted = [example for example in trial.examples if free[example]][: self._book.left]
        if wanted:
            self._pending.setdefault(self._book.next_decision, []).append(trial)
            return self._book.record([Job(trial.candidate, tuple(wanted), reason)])
        unknown = np.isnan(self._book.table.known(trial.candidate)[list(trial.examples)]).any()
        if unknown and trial.candidate in self._book.under_way():
            # An earlier decision has asked for it.
            self._pending.setdefault(self._book.next_decision - 1, []).append(trial)
        else:
            self._finish(trial)
        return []
