"""`Evaluate`: a program on a data set, scored by a metric, in threads."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import logging
import math
from collections import Counter
from numbers import Real
from typing import TYPE_CHECKING, Any

from mipro._whole import is_whole
from mipro.callback import notified
from mipro.context import settings
from mipro.errors import UserError
from mipro.evaluate import _report
from mipro.evaluate._outcome import Outcome, run_example
from mipro.evaluate._score import check_metric
from mipro.evaluate._threads import parallel_map
from mipro.evaluate._watch import Guard, bar, counted
from mipro.example import Prediction, or_of_table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from mipro.evaluate._score import Metric
    from mipro.example import Example

logger = logging.getLogger(__name__)


class EvaluationResult(Prediction):
    """What an evaluation found.

    Fields:
        score: Mean score in per cent, rounded to two places.
        results: One (example, prediction, score) for each example, in order; the score
            as the metric returned it, or None where the model could not be reached.
    """

    if TYPE_CHECKING:
        score: float
        results: list[tuple[Example, Any, Any]]

    def __init__(
        self,
        score: float,
        results: list[tuple[Example, Any, Any]],
        failures: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(score=score, results=results)
        self._failures = dict(failures or {})

    @property
    def failures(self) -> dict[str, int]:
        """How often what failed: "parse", "request", "lm", "program", "metric"; absent where never."""
        return dict(self._failures)

    def __repr__(self) -> str:
        return f"EvaluationResult(score={self.score}, results=<list of {len(self.results)} results>)"


class Evaluate:
    """Measures programs on a data set.

    An answer that can't be parsed, a request that the model refuses (too long), and an
    example on which program or metric raise, score `failure_score`. An example whose
    model could not be reached has no score and does not count in the mean. All are
    counted in `EvaluationResult.failures`.

    Args:
        devset: The examples, inputs set.
        metric: `metric(example, prediction)`, see `Metric`.
        num_threads: Examples under way at once; `settings.num_threads` if None.
        display_progress: Whether to draw a bar on stderr.
        display_table: Whether to show the results; a number shows as many rows.
        max_errors: On how many examples program, metric or model may fail before the
            evaluation stops; `settings.max_errors` if None. An answer that can't be parsed,
            a judge's in the metric too, and a refused request are none of these.
        provide_traceback: Whether to log where program or metric raised;
            `settings.provide_traceback` if None.
        failure_score: Score of an example that failed.
        save_as_csv: File to write the results to.
        save_as_json: File to write the results to.
        kwargs: Ignored with a warning, as of programs written for older versions of DSPy.

    Raises:
        UserError: An argument that is no more, such as `return_outputs`, or a misspelt one.
    """

    def __init__(  # noqa: PLR0913 - DSPy's call form
        self,
        *,
        devset: Sequence[Example],
        metric: Metric | None = None,
        num_threads: int | None = None,
        display_progress: bool = False,
        display_table: bool | int = False,
        max_errors: int | None = None,
        provide_traceback: bool | None = None,
        failure_score: float = 0.0,
        save_as_csv: str | os.PathLike[str] | None = None,
        save_as_json: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if "return_outputs" in kwargs:
            raise UserError(
                "`return_outputs` is no longer supported: `EvaluationResult.results` always has the outputs."
            )
        known = set(inspect.signature(Evaluate).parameters) - {"kwargs"}
        for name in kwargs:
            if near := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
                raise UserError(f"`Evaluate` has no argument `{name}`; did you mean `{near[0]}`?")
            logger.warning("`Evaluate` has no argument `%s`; it is ignored.", name)
        self.devset = devset
        self.metric = metric
        self.num_threads = num_threads
        self.display_progress = display_progress
        self.display_table = display_table
        self.max_errors = max_errors
        self.provide_traceback = provide_traceback
        self.failure_score = failure_score
        self.save_as_csv = save_as_csv
        self.save_as_json = save_as_json

    def __call__(  # noqa: PLR0913, PLR0917 - DSPy's call form
        self,
        program: Callable[..., Any],
        metric: Metric | None = None,
        devset: Sequence[Example] | None = None,
        num_threads: int | None = None,
        display_progress: bool | None = None,
        display_table: bool | int | None = None,
        callback_metadata: dict[str, Any] | None = None,
        save_as_csv: str | os.PathLike[str] | None = None,
        save_as_json: str | os.PathLike[str] | None = None,
    ) -> EvaluationResult:
        """Run the program on every example and score it.

        Args:
            program: A module, or any function of the inputs; asynchronous ones too.
            metric: Instead of the one given at construction; so the following ones.
            devset: See the class.
            num_threads: See the class.
            display_progress: See the class.
            display_table: See the class.
            callback_metadata: Handed to the callbacks.
            save_as_csv: See the class.
            save_as_json: See the class.

        Returns:
            Score in per cent, and one result for each example.

        Raises:
            UserError: There are no examples, no metric, no program, or no inputs set, another argument
                makes no sense, or a file to write can't be written.
            NoModelError: No model is configured, or what is configured is none.
            ProgramError: Program or metric raised on `max_errors` examples.
            LMError: The model refused for good, or failed on `max_errors` examples.
            RunStopped: The run that calls pass through ended.
        """
        metric = self.metric if metric is None else metric
        devset = self.devset if devset is None else devset
        display_progress = self.display_progress if display_progress is None else display_progress
        display_table = self.display_table if display_table is None else display_table
        save_as_csv = self.save_as_csv if save_as_csv is None else save_as_csv
        save_as_json = self.save_as_json if save_as_json is None else save_as_json
        _check(devset, metric)
        _check_program(program)
        self._check_settings(display_table)
        for name, file_path in (("save_as_csv", save_as_csv), ("save_as_json", save_as_json)):
            if file_path:
                _report.check_file(name, file_path)
        num_threads = self.num_threads if num_threads is None else num_threads
        inputs = {
            "program": program,
            "metric": metric,
            "devset": devset,
            "num_threads": num_threads,
            "display_progress": display_progress,
            "display_table": display_table,
            "callback_metadata": callback_metadata,
            "save_as_csv": save_as_csv,
            "save_as_json": save_as_json,
        }
        with notified("evaluate", self, inputs) as seen:
            outcomes = self._measure(program, metric, devset, num_threads, display_progress)
            result = seen(self._result(devset, outcomes))
        rows = _report.rows_of(result.results, _name_of(metric))
        if save_as_csv:
            _report.save_csv(rows, save_as_csv)
        if save_as_json:
            _report.save_json(rows, save_as_json)
        # Last, since it may fail, as where nobody reads standard output any more.
        if display_table:  # `True` is all rows, `1` is one
            _report.show(rows, _name_of(metric), None if display_table is True else int(display_table))
        return result

    def _check_settings(self, display_table: Any) -> None:
        """Refuse what would be met only when the calls are paid."""
        if not isinstance(self.failure_score, Real) or not math.isfinite(self.failure_score):
            raise UserError(f"`failure_score` must be a finite number, but got {self.failure_score!r}.")
        is_switch = display_table is None or isinstance(display_table, bool)
        if not is_switch and not is_whole(display_table, 0):
            raise UserError(
                f"`display_table` must be True, False or a number of rows, but got {display_table!r}."
            )
        if self.max_errors is not None and not is_whole(self.max_errors, 0):
            raise UserError(
                f"`max_errors` must be a whole number of at least 0 or None, but got {self.max_errors!r}."
            )

    def _measure(
        self,
        program: Callable[..., Any],
        metric: Any,
        devset: Sequence[Example],
        num_threads: int | None,
        display_progress: bool,
    ) -> list[Outcome]:
        guard = Guard(
            settings.max_errors if self.max_errors is None else self.max_errors,
            settings.provide_traceback if self.provide_traceback is None else self.provide_traceback,
        )

        def measure(example: Example) -> Outcome:
            outcome = run_example(program, example, metric, failure_score=self.failure_score)
            if outcome.failure:
                guard.count(example, outcome)
            return outcome

        with bar(len(devset)) if display_progress else contextlib.nullcontext() as advance:
            return parallel_map(
                measure,
                devset,
                num_threads=num_threads,
                on_done=None if advance is None else lambda _index, outcome: advance(outcome),
            )

    def _result(self, devset: Sequence[Example], outcomes: list[Outcome]) -> EvaluationResult:
        scores = [outcome.score for outcome in outcomes if outcome.score is not None]
        failures: Counter[str] = Counter(outcome.failure for outcome in outcomes if outcome.failure)
        if not scores:
            last = outcomes[-1].error
            raise last if last is not None else UserError("no example has a score.")
        results = [
            (
                example,
                Prediction() if outcome.failure and outcome.prediction is None else outcome.prediction,
                outcome.score if outcome.failure else outcome.value,
            )
            for example, outcome in zip(devset, outcomes, strict=True)
        ]
        percent = 100 * sum(scores) / len(scores)
        logger.info(
            "Average Metric: %g / %d (%.1f%%)%s", sum(scores), len(scores), percent, counted(failures)
        )
        return EvaluationResult(score=round(percent, 2), results=results, failures=failures)


def _check(devset: Sequence[Example] | None, metric: Metric | None) -> None:
    if devset is not None and not hasattr(devset, "__len__"):
        raise UserError(f"`devset` must be a list of examples, but got {devset!r}.")
    if devset is None or not len(devset):  # not by its truth, which an array of examples has not
        raise UserError("devset must contain at least one example, got an empty devset.")
    check_metric(metric)
    for index, example in enumerate(devset):
        if not hasattr(example, "inputs"):
            raise UserError(
                f"every example of `devset` must be a `mipro.Example`, but example {index} is none: "
                f"{example!r}; use `mipro.Example(...).with_inputs(...)`{or_of_table(example)}."
            )
        example.inputs()  # raises where they are not set: before any call is paid


def _check_program(program: Any) -> None:
    from mipro.modules import Module  # noqa: PLC0415 - the layer of programs loads when one is run

    if not callable(program) or (isinstance(program, type) and issubclass(program, Module)):
        raise UserError(
            f"`program` must be a program, such as Predict(...), or a function, but got {program!r}."
        )


def _name_of(metric: Any) -> str:
    return str(getattr(metric, "__name__", None) or type(metric).__name__)
