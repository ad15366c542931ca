"""Measuring candidates on examples, in threads, each cell once, every cell kept."""

from __future__ import annotations

import contextvars
import copy
import json
import logging
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from mipro._canonical import canonical
from mipro._workers import workers
from mipro.context import context
from mipro.errors import (
    LMAuthError,
    LMError,
    LMNotFoundError,
    ProgramError,
    RunStopped,
    UserError,
)
from mipro.evaluate import Outcome, run_example
from mipro.evaluate._report import text_of
from mipro.evaluate._threads import SIGNAL_CHECK_S
from mipro.example import Example
from mipro.runs._fingerprint import of_candidate
from mipro.runs._records import EvaluationRecord
from mipro.runs._refusals import Refusals
from mipro.runs._stage_gate import copy_of
from mipro.runs._tables import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mipro.evaluate import Metric
    from mipro.modules import Module
    from mipro.runs._run import Run
    from mipro.runs._stage_gate import StageGate


logger = logging.getLogger("mipro")

ROUNDS = 4
"""Times in a row that missing evaluations are tried again in vain before the search is told that
they are missing. At 30 % failures and 4 requests for a call, less than one in 10^10 is."""


class Measurement:
    """Evaluations under way for one program; `records()` waits for them.

    Args:
        known: Records that the ledger had.
        order: Examples in the order asked.
        begin: Begins to measure the program on an example.
        work: Measures what is next in line; returns False where threads of their own do.
    """

    def __init__(
        self,
        known: dict[int, EvaluationRecord],
        order: Sequence[int],
        begin: Callable[[int], Future[EvaluationRecord]],
        work: Callable[[], bool],
    ) -> None:
        self._known = known
        self._order = tuple(order)
        self._begin = begin
        self._work = work
        self._pending = {index: begin(index) for index in order if index not in known}

    def records(self) -> list[EvaluationRecord]:
        """Return one record for each example, in the order asked.

        What infrastructure left missing is tried again, some times.

        Raises:
            RunStopped: The run may not or can't go on; what was measured is kept.
            ProgramError: The program or the metric raised on too many examples.
            LMError: A model refused for good (key, name).
        """
        self._wait()
        rounds, before = 0, len(self._pending)
        while rounds < ROUNDS and (missing := self._missing()):
            rounds = 1 if len(missing) < before else rounds + 1
            before = len(missing)
            self._pending.update({index: self._begin(index) for index in missing})
            self._wait()
        return [self._known[i] if i in self._known else self._pending[i].result() for i in self._order]

    def _missing(self) -> list[int]:
        return [i for i, future in self._pending.items() if future.result().score is None]

    def _wait(self) -> None:
        """Wait for all, or for the first that raises; the others are then finished or not begun."""
        for future in self._pending.values():
            while not future.done() and self._work():
                pass
            if future.done() and not future.cancelled() and future.exception() is not None:
                break
        running = set(self._pending.values())
        while running:
            done, running = wait(running, SIGNAL_CHECK_S, return_when=FIRST_EXCEPTION)
            failed = [f for f in done if not f.cancelled() and f.exception() is not None]
            if failed:
                left = [future for future in self._pending.values() if not future.cancel()]
                while wait(left, SIGNAL_CHECK_S).not_done:
                    pass
                failed[0].result()

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
        num_threads: Evaluations under way at once; one is done in the thread that asks for its records.
        max_errors: On so many examples, each counted once, program or metric may raise before the run stops.
        failure_score: Score of an answer that can't be parsed, a refused request, or a
            program or metric that raised.
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
        self._raised: set[int] = set()
        self._refusals = Refusals(len(dataset))
        run.flush()
        if run.store.count(EvaluationRecord):
            # It has answered, in an earlier session or on another data set; nothing is kept before.
            self._refusals.end()
        self._told: set[str] = set()
        """Fields of predictions that were said to be kept as text."""
        self._met: dict[str, int] = {}
        """By candidate the examples begun in this session, as bits."""
        self._lock = threading.Lock()
        self._workers = workers(num_threads, "mipro-evaluate")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After the second Ctrl-C nothing is waited for.
        self._workers.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=True)

    def beside(self, dataset: Sequence[Example], *, split: str) -> Evaluator:
        """Return an evaluator of another data set, whose evaluations take their turns on the same threads.

        Args:
            dataset: The examples that indices refer to.
            split: Name of the data set in the ledger.
        """
        other = copy.copy(self)
        vars(other).update(_dataset=dataset, _split=split, _raised=set(), _met={}, _on_done=lambda _: None)
        return other

    def start(self, program: Module, examples: Sequence[int], *, stage: str) -> Measurement:
        """Begin to measure `program`; cells that the ledger has cost nothing.

        Args:
            program: Program with a candidate's instructions and demos in place.
            examples: Indices into the data set, without repetition.
            stage: Stage of the run that pays for the calls.
        """
        candidate = of_candidate(program)
        known = self._known(candidate, examples)
        for record in known.values():
            self._on_done(record)
        return Measurement(
            known, examples, partial(self._begin, program, candidate, stage), self._workers.work
        )

    def _known(self, candidate: str, examples: Sequence[int]) -> dict[int, EvaluationRecord]:
        """Look up what the ledger may have: of an earlier session, or of this one if met before."""
        wanted = sum(1 << index for index in set(examples))
        met = self._met.get(candidate, 0)
        self._met[candidate] = met | wanted
        if not self._run.resumed and not met & wanted:
            return {}
        return self._run.store.find_evaluations(candidate, self._split, examples)

    def _begin(self, program: Module, candidate: str, stage: str, index: int) -> Future[EvaluationRecord]:
        task = contextvars.copy_context()
        return self._workers.submit(task.run, self._measure, program, candidate, stage, index)

    def _measure(self, program: Module, candidate: str, stage: str, index: int) -> EvaluationRecord:
        if self._run.stopped is not None:
            raise copy_of(self._run.stopped)
        gate = self._run.gate(stage, subject=f"{self._split} {index}")
        with self._refusals.watched() as number:
            with context(gate=gate):
                outcome = run_example(
                    program, self._dataset[index], self._metric, failure_score=self._failure_score
                )
            self._refuse_to_go_on(outcome, gate)
            if isinstance(gate.failure, LMError):
                # The program or the metric may have caught it and gone on without the answer.
                outcome = Outcome(None, failure="lm", error=gate.failure)
            record = self._record(outcome, candidate, index)
            self._keep(number, record, outcome)
        if record.score is not None:
            self._on_done(record)
        self._count(outcome, index)
        return record

    def _refuse_to_go_on(self, outcome: Outcome, gate: StageGate) -> None:
        if isinstance(gate.failure, (RunStopped, UserError)):
            raise copy_of(gate.failure)
        if isinstance(outcome.error, (RunStopped, LMAuthError, LMNotFoundError)):
            raise outcome.error
        if isinstance(outcome.error, LMError) and self._run.stopped is not None:
            raise copy_of(self._run.stopped)

    def _keep(self, number: int, record: EvaluationRecord, outcome: Outcome) -> None:
        is_refused = outcome.failure == "request"
        to_keep, is_hopeless = self._refusals.sort(number, record, refused=is_refused)
        for one in to_keep:
            self._run.put(one)
        if is_hopeless and outcome.error is not None:
            raise outcome.error

    def _record(self, outcome: Outcome, candidate: str, index: int) -> EvaluationRecord:
        prediction, unkept = _kept(outcome.prediction)
        self._tell(unkept)
        return EvaluationRecord(
            candidate=candidate,
            split=self._split,
            example=index,
            score=outcome.score,
            failure=outcome.failure,
            error=outcome.traceback or (str(outcome.error) if outcome.error else ""),
            prediction=prediction,
            # As a replay will read it: the proposer is shown it, and a prompt must be the same then.
            feedback=storable(outcome.feedback),
        )

    def _tell(self, unkept: Sequence[str]) -> None:
        """Log each field that could not be kept as it is, once."""
        for name in unkept:
            with self._lock:
                is_new = name not in self._told
                self._told.add(name)
            if is_new:
                logger.warning("the field %r of a prediction is kept as text: JSON does not hold it.", name)

    def _count(self, outcome: Outcome, index: int) -> None:
        if not outcome.raised:
            return
        with self._lock:
            is_first = not self._raised
            # An example that no candidate can do must not end the run because many have met it.
            self._raised.add(index)
            raised = len(self._raised)
        what = (
            f"{outcome.failure} on example {index} of the {self._split}set: {dict(self._dataset[index])!r}. "
            f"It raised {type(outcome.error).__name__}: {str(outcome.error).rstrip('.')}."
        )
        if is_first:  # those that follow are mostly of the same kind
            logger.warning("what raises counts as a failure: the %s", what)
        if raised >= max(1, self._max_errors):
            raise ProgramError(
                f"program and metric must raise on fewer than {self._max_errors} examples (`max_errors`), "
                f"but raised on {raised}; the last was the {what} Mend it, or pass a larger `max_errors`; "
                f"what was measured is kept in {self._run.where}.\n{outcome.traceback}",
                count=raised,
            ) from outcome.error


def _kept(prediction: Any) -> tuple[str, list[str]]:
    """Return a prediction as JSON, and the names of the fields that are kept as text.

    Raises for nothing: a program may return what it likes, and the evaluation is paid.
    """
    whole = _json(prediction)
    if whole is not None:
        return whole, []
    fields = dict(prediction.items(include_dspy=True)) if isinstance(prediction, Example) else prediction
    if not isinstance(fields, dict):
        return json.dumps(text_of(prediction)), [type(prediction).__qualname__]
    found = {text_of(name): (_json(value), value) for name, value in fields.items()}
    unkept = sorted(name for name, (text, _) in found.items() if text is None)
    members = [
        f"{json.dumps(name)}:{json.dumps(text_of(value)) if text is None else text}"
        for name, (text, value) in sorted(found.items(), key=lambda item: item[0])
    ]
    return f"{{{','.join(members)}}}", unkept


def _json(value: Any) -> str | None:
    try:
        return canonical(value)
    except Exception:  # noqa: BLE001 - a program's own objects may raise anything
        return None
