"""Measuring candidates on examples, in threads, each cell once, every cell kept."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from typing_extensions import Self

from mipro.context import context
from mipro.errors import (
    LMAuthError,
    LMError,
    LMNotFoundError,
    LMRequestError,
    ProgramError,
    RunStopped,
)
from mipro.evaluate import Outcome, run_example
from mipro.runs._fingerprint import canonical, of_candidate
from mipro.runs._records import EvaluationRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mipro.evaluate import Metric
    from mipro.example import Example
    from mipro.modules import Module
    from mipro.runs._run import Run


class Measurement:
    """Evaluations under way for one program; `records()` waits for them."""

    def __init__(
        self,
        known: dict[int, EvaluationRecord],
        pending: dict[int, Future[EvaluationRecord]],
        order: Sequence[int],
    ) -> None:
        self._known = known
        self._pending = pending
        self._order = tuple(order)

    def records(self) -> list[EvaluationRecord]:
        """Return one record for each example, in the order asked.

        Raises:
            RunStopped: The run may not or can't go on; what was measured is kept.
            ProgramError: The program or the metric raised on too many examples.
            LMError: A model refused for good (key, name).
        """
        # Work that the pool has not begun is cancelled by the first failure, so that a
        # run that must stop does so at once.
        done, _ = wait(self._pending.values(), return_when=FIRST_EXCEPTION)
        for future in done:
            if not future.cancelled() and future.exception() is not None:
                for other in self._pending.values():
                    other.cancel()
                future.result()
        return [self._known[i] if i in self._known else self._pending[i].result() for i in self._order]

    def so_far(self) -> list[EvaluationRecord | None]:
        """Return the record of each example, or None where it was not measured."""
        found = dict(self._known)
        for index, future in self._pending.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                found[index] = future.result()
        return [found.get(index) for index in self._order]


class Evaluator:
    """Measures programs on one data set within a run.

    Args:
        run: The run whose ledger keeps every evaluation.
        dataset: The examples that indices refer to.
        split: Name of the data set in the ledger: "val" or "test".
        metric: The user's metric.
        num_threads: Evaluations under way at once.
        max_errors: How many evaluations may raise before the run stops.
        failure_score: Score of an answer that can't be parsed or a program that raised.
        on_done: Called with each new or replayed record, from any thread.
    """

    def __init__(
        self,
        run: Run,
        dataset: Sequence[Example],
        *,
        split: str,
        metric: Metric,
        num_threads: int,
        max_errors: int,
        failure_score: float = 0.0,
        on_done: Callable[[EvaluationRecord], None] | None = None,
    ) -> None:
        self._run = run
        self._dataset = dataset
        self._split = split
        self._metric = metric
        self._max_errors = max_errors
        self._failure_score = failure_score
        self._on_done = on_done or (lambda _: None)
        self._raised = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="mipro-evaluate")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, program: Module, examples: Sequence[int], *, stage: str) -> Measurement:
        """Begin to measure `program`; cells that the ledger has cost nothing.

        Args:
            program: Program with a candidate's instructions and demos in place.
            examples: Indices into the data set, without repetition.
            stage: Stage of the run that pays for the calls.
        """
        candidate = of_candidate(program)
        known = self._run.store.find_evaluations(candidate, self._split, examples)
        for record in known.values():
            self._on_done(record)
        pending = {}
        with context(gate=self._run.gate(stage)):
            for index in examples:
                if index not in known:
                    task = contextvars.copy_context()
                    pending[index] = self._pool.submit(task.run, self._measure, program, candidate, index)
        return Measurement(known, pending, examples)

    def _measure(self, program: Module, candidate: str, index: int) -> EvaluationRecord:
        if self._run.stopped is not None:
            raise self._run.stopped
        outcome = run_example(program, self._dataset[index], self._metric, failure_score=self._failure_score)
        self._refuse_to_go_on(outcome)
        record = _record(outcome, candidate, self._split, index, self._failure_score)
        self._run.keep(record)
        self._on_done(record)
        self._count(outcome, index)
        return record

    def _refuse_to_go_on(self, outcome: Outcome) -> None:
        if isinstance(outcome.error, (RunStopped, LMAuthError, LMNotFoundError)):
            raise outcome.error
        if isinstance(outcome.error, LMError) and self._run.stopped is not None:
            raise self._run.stopped

    def _count(self, outcome: Outcome, index: int) -> None:
        if outcome.failure not in {"program", "metric"}:
            return
        with self._lock:
            self._raised += 1
            raised = self._raised
        if raised >= max(1, self._max_errors):
            raise ProgramError(
                f"program and metric must raise on fewer than {self._max_errors} examples (`max_errors`), "
                f"but raised on {raised}; the last was the {outcome.failure} on example "
                f"{index} of the {self._split}set: "
                f"{dict(self._dataset[index])!r}. Mend it, or raise `max_errors`; what was measured is kept "
                f"in {self._run.where}.\n{outcome.traceback}",
                count=raised,
            ) from outcome.error


def _record(
    outcome: Outcome, candidate: str, split: str, index: int, failure_score: float
) -> EvaluationRecord:
    score, failure = outcome.score, str(outcome.failure)
    if isinstance(outcome.error, LMRequestError):
        # The request itself is refused (too long, filtered): the candidate's own fault.
        score, failure = failure_score, "request"
    return EvaluationRecord(
        candidate=candidate,
        split=split,
        example=index,
        score=score,
        failure=failure,
        error=outcome.traceback or (str(outcome.error) if outcome.error else ""),
        prediction=canonical(outcome.prediction),
        feedback=outcome.feedback,
    )
