"""`BootstrapFewShot`: demos made by running a teacher and keeping what the metric accepts."""

from __future__ import annotations

import logging
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mipro._terminal import is_watched
from mipro.context import settings
from mipro.errors import ProgramError, UserError
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
from mipro.optimize._progress import Bars, Progress
from mipro.optimize._result import detached
from mipro.optimize._teleprompter import Program, Teleprompter
from mipro.optimize._traces import (
    TeacherRuns,
    TeacherSettings,
    Want,
    first_successes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mipro.example import Example
    from mipro.modules import Module

logger = logging.getLogger(__name__)

_SEED = 0  # DSPy's; the same answers give the same demos there and here


class BootstrapFewShot(Teleprompter):
    """Composes demos for every predictor from runs of a teacher and from labelled examples.

    The teacher runs on the training examples in their order until enough runs have
    passed the metric; all calls of such a run become demos of their predictors. The
    demos are filled up with labelled examples, counted per predictor.

    Args:
        metric: `metric(example, prediction, trace)`; None takes every run.
        metric_threshold: Least score of a run that counts as passed, 0 included; None
            takes every score that is true.
        teacher_settings: Settings in force while the teacher runs, such as `lm`.
        max_bootstrapped_demos: Runs of the teacher to take demos from.
        max_labeled_demos: Demos per predictor up to which labelled examples are added.
            A teacher that is not compiled gets as many for its own runs.
        max_rounds: Runs per example at most; each after the first is a fresh draw at
            temperature 1.
        max_errors: So many examples on which the teacher or the metric raise end the
            search, with that exception; None takes the setting `max_errors`.
        num_threads: Runs of the teacher at the same time, with the same result for a
            model that answers each request by itself; None runs one after the other.

    Raises:
        UserError: `metric` is no function, or another argument makes no sense.
    """

    def __init__(
        self,
        metric: Callable[..., Any] | None = None,
        metric_threshold: float | None = None,
        teacher_settings: Mapping[str, Any] | None = None,
        max_bootstrapped_demos: int = 4,
        max_labeled_demos: int = 16,
        max_rounds: int = 1,
        max_errors: int | None = None,
        num_threads: int | None = None,
    ) -> None:
        super().__init__()
        if metric is not None and not callable(metric):
            raise UserError(
                f"`metric` must be a function of (example, prediction, trace), or None, but got {metric!r}."
            )
        check_threshold(metric_threshold=metric_threshold)
        check_settings(teacher_settings)
        check_whole(0, max_bootstrapped_demos=max_bootstrapped_demos, max_labeled_demos=max_labeled_demos)
        check_whole(1, max_rounds=max_rounds)
        check_not_negative(max_errors=max_errors)
        check_positive(num_threads=num_threads)
        self.metric = metric
        self.metric_threshold = metric_threshold
        self.teacher_settings: dict[str, Any] = dict(teacher_settings or {})
        self.max_bootstrapped_demos = max_bootstrapped_demos
        self.max_labeled_demos = max_labeled_demos
        self.max_rounds = max_rounds
        self.max_errors = max_errors
        self.num_threads = num_threads

    def compile(  # type: ignore[override] # DSPy's call form is narrower than the base's
        self, student: Program, *, teacher: Module | None = None, trainset: Sequence[Example]
    ) -> Program:
        """Return a copy of `student` with demos; `student` and `teacher` stay as they are.

        Args:
            student: Program to give demos to.
            teacher: Program to run, of the same structure; by default `student`.
            trainset: Training examples with inputs set.

        Raises:
            UserError: Teacher and student differ in their predictors, the teacher's model is none, there
                are no examples, or one names no inputs or one that it has not.
            LMAuthError: The key of the teacher's model is missing.
            Exception: What the program or the metric raised on the `max_errors`-th example.
        """
        rows = listed("trainset", trainset, least=1)
        if self.max_bootstrapped_demos:
            check_examples(trainset=rows)
        check_teacher(student, teacher, self.teacher_settings)
        ready = self._ready_teacher(student, teacher, rows)
        want = Want(tuple(range(len(rows))), self.max_bootstrapped_demos)
        with ExitStack() as stack:
            bars = stack.enter_context(Bars()) if want.size and is_watched() else None

            def on_progress(done: int, _begun: int) -> None:
                if bars is not None:
                    bars(Progress("bootstrap", done, len(rows)))

            runs = TeacherRuns(student, ready, rows, self._how(), on_progress=on_progress)
            try:
                [found] = first_successes(runs, [want])
            except ProgramError as error:
                # DSPy's users expect their program's own exception here.
                raise error.__cause__ or error from error
        for note in runs.notes():
            logger.warning("%s", note)
        compiled = detached(student.reset_copy())
        self._give_demos(compiled, runs, found, rows)
        compiled._compiled = True  # noqa: SLF001 - DSPy's mark of an optimised program
        return compiled

    def _how(self) -> TeacherSettings:
        return TeacherSettings(
            metric=self.metric,
            metric_threshold=self.metric_threshold,
            overrides=self.teacher_settings,
            max_rounds=self.max_rounds,
            max_errors=self.max_errors if self.max_errors is not None else settings.max_errors,
            num_threads=self.num_threads or 1,
            seed=_SEED,
        )

    def _ready_teacher(self, student: Module, teacher: Module | None, trainset: Sequence[Example]) -> Module:
        source = teacher if teacher is not None else student
        if self.max_labeled_demos and not getattr(source, "_compiled", False):
            labelled: Module = LabeledFewShot(k=self.max_labeled_demos).compile(source, trainset=trainset)
            return labelled
        return source.deepcopy()

    def _give_demos(
        self, compiled: Module, runs: TeacherRuns, found: list[int], trainset: Sequence[Example]
    ) -> None:
        unused = [example for i, example in enumerate(trainset) if i not in found]
        random.Random(_SEED).shuffle(unused)  # noqa: S311 - not for secrets
        rng = random.Random(_SEED)  # noqa: S311 - not for secrets
        for p, predictor in enumerate(compiled.predictors()):
            made = [demos[p] for i in found if (demos := runs[i].demos) is not None]
            bootstrapped = [demo for demo in made if demo is not None]
            room = max(0, min(self.max_labeled_demos - len(bootstrapped), len(unused)))
            predictor.demos = [*bootstrapped, *rng.sample(unused, room)]
