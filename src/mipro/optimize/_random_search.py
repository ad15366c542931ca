"""`BootstrapFewShotWithRandomSearch`: the best of several bootstrapped sets of demos."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

from mipro._terminal import error_console, is_watched
from mipro.context import settings
from mipro.errors import UserError
from mipro.evaluate import Evaluate
from mipro.evaluate._score import check_metric
from mipro.optimize._bootstrap import BootstrapFewShot
from mipro.optimize._checks import (
    check_examples,
    check_not_negative,
    check_positive,
    check_settings,
    check_teacher,
    check_threshold,
    check_whole,
    listed,
)
from mipro.optimize._labeled import LabeledFewShot
from mipro.optimize._result import Programs, detached
from mipro.optimize._teleprompter import Program, Teleprompter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mipro.evaluate import Metric
    from mipro.example import Example
    from mipro.modules import Module

logger = logging.getLogger(__name__)

# DSPy numbers the candidates: those below 0 are fixed, the others are seeds of a shuffle.
_ZERO_SHOT, _LABELS_ONLY, _UNSHUFFLED = -3, -2, -1
_KINDS = {_ZERO_SHOT: "no demos", _LABELS_ONLY: "labelled demos"}


class BootstrapFewShotWithRandomSearch(Teleprompter):
    """Evaluates programs with differently drawn demos and returns the best.

    The candidates are the program without demos, with labelled demos, with demos
    bootstrapped in the order of the data, and `num_candidate_programs` with demos
    bootstrapped in shuffled orders, a random number each.

    Args:
        metric: `metric(example, prediction, trace)`.
        teacher_settings: Settings in force while the teacher runs, such as `lm`.
        max_bootstrapped_demos: Bootstrapped demos per predictor at most.
        max_labeled_demos: Demos per predictor up to which labelled examples are added.
        max_rounds: Runs of the teacher per example at most.
        num_candidate_programs: Candidates with shuffled data.
        num_threads: Examples run at the same time, in bootstrapping and evaluation;
            None bootstraps one after the other.
        max_errors: Examples that may raise; None takes the setting `max_errors`.
        stop_at_score: A score in percent that is good enough to stop at.
        metric_threshold: Least score of a run to take demos from.

    Raises:
        UserError: `metric` is no function, or another argument makes no sense.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - DSPy's call form
        self,
        metric: Metric,
        teacher_settings: Mapping[str, Any] | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 16,
        max_rounds: int = 1,
        num_candidate_programs: int = 16,
        num_threads: int | None = None,
        max_errors: int | None = None,
        stop_at_score: float | None = None,
        metric_threshold: float | None = None,
    ) -> None:
        super().__init__()
        check_metric(metric)
        check_threshold(metric_threshold=metric_threshold, stop_at_score=stop_at_score)
        check_settings(teacher_settings)
        check_whole(
            0,
            max_bootstrapped_demos=max_bootstrapped_demos,
            max_labeled_demos=max_labeled_demos,
            num_candidate_programs=num_candidate_programs,
        )
        check_whole(1, max_rounds=max_rounds)
        check_not_negative(max_errors=max_errors)
        check_positive(num_threads=num_threads)
        self.metric = metric
        self.teacher_settings: dict[str, Any] = dict(teacher_settings or {})
        self.max_rounds = max_rounds
        self.num_threads = num_threads
        self.stop_at_score = stop_at_score
        self.metric_threshold = metric_threshold
        self.min_num_samples = 1
        self.max_num_samples = max_bootstrapped_demos
        self.max_errors = max_errors
        self.num_candidate_sets = num_candidate_programs
        self.max_labeled_demos = max_labeled_demos

    def compile(  # type: ignore[override] # DSPy's call form is narrower than the base's
        self,
        student: Program,
        *,
        teacher: Module | None = None,
        trainset: Sequence[Example],
        valset: Sequence[Example] | None = None,
        restrict: Iterable[int] | None = None,
        labeled_sample: bool = True,
    ) -> Program:
        """Return the best candidate; `student` and `teacher` stay as they are.

        Args:
            student: Program to give demos to.
            teacher: Program to bootstrap with, of the same structure.
            trainset: Training examples.
            valset: Examples to choose by; by default the training examples.
            restrict: Numbers of the candidates to try: -3 without demos, -2 labelled,
                -1 unshuffled, 0 and more shuffled.
            labeled_sample: Whether the labelled demos are drawn, or the first ones.

        Returns:
            The best program. Its `candidate_programs` lists all of them, best first, as
            dicts with "score" (percent), "subscores" (per example), "seed", "program".

        Raises:
            UserError: `restrict` names no candidate, teacher and student differ in their predictors, the
                teacher's model is none, there are no examples, or one names no inputs or one that it
                has not.
            LMAuthError: The key of the teacher's model is missing.
        """
        rows = listed("trainset", trainset, least=1)
        measured = listed("valset", valset) if valset else rows
        check_examples(trainset=rows if self.max_num_samples or not valset else (), valset=measured)
        check_teacher(student, teacher, self.teacher_settings)
        max_errors = self.max_errors if self.max_errors is not None else settings.max_errors
        evaluate = Evaluate(
            devset=measured,
            metric=self.metric,
            num_threads=self.num_threads,
            max_errors=max_errors,
            display_table=False,
            display_progress=True,
        )
        candidates: list[dict[str, Any]] = []
        seeds = self._seeds(restrict)
        for seed in seeds:
            program = self._candidate(seed, student, teacher, rows, sample=labeled_sample)
            result = evaluate(program)
            subscores = [score for _, _, score in result.results]
            candidates.append(
                {"score": result.score, "subscores": subscores, "seed": seed, "program": program}
            )
            logger.info("candidate %d scores %.2f", seed, result.score)
            if is_watched():
                kind = _KINDS.get(seed, "bootstrapped demos")
                best_score = max(candidate["score"] for candidate in candidates)
                error_console().print(
                    f"candidate {len(candidates)} of {len(seeds)}, with {kind}: "
                    f"{result.score} %, best so far {best_score} %",
                    highlight=False,
                )
            if self.stop_at_score is not None and result.score >= self.stop_at_score:
                break
        candidates.sort(key=lambda candidate: -candidate["score"])
        best: Program = candidates[0]["program"]
        best.candidate_programs = Programs(candidates)
        best._attached = frozenset({"candidate_programs"})  # noqa: SLF001 - so that a next run may attach its own
        return best

    def _seeds(self, restrict: Iterable[int] | None) -> list[int]:
        seeds = list(range(_ZERO_SHOT, self.num_candidate_sets))
        if restrict is None:
            return seeds
        wanted = set(restrict)
        chosen = [seed for seed in seeds if seed in wanted]
        if not chosen:
            raise UserError(
                f"`restrict` must name candidates in range(-3, {self.num_candidate_sets}), but got "
                f"{sorted(wanted)}; no program would be evaluated."
            )
        return chosen

    def _candidate(
        self, seed: int, student: Module, teacher: Module | None, trainset: list[Example], *, sample: bool
    ) -> Any:
        if seed == _ZERO_SHOT:
            return detached(student.reset_copy())
        if seed == _LABELS_ONLY:
            return LabeledFewShot(k=self.max_labeled_demos).compile(student, trainset=trainset, sample=sample)
        rows, size = list(trainset), self.max_num_samples
        if seed != _UNSHUFFLED:
            random.Random(seed).shuffle(rows)  # noqa: S311 - not for secrets
            least = min(self.min_num_samples, size)
            size = random.Random(seed).randint(least, size)  # noqa: S311 - not for secrets
        bootstrap = BootstrapFewShot(
            metric=self.metric,
            metric_threshold=self.metric_threshold,
            teacher_settings=self.teacher_settings,
            max_bootstrapped_demos=size,
            max_labeled_demos=self.max_labeled_demos,
            max_rounds=self.max_rounds,
            max_errors=self.max_errors,
            num_threads=self.num_threads,
        )
        return bootstrap.compile(student, teacher=teacher, trainset=rows)
