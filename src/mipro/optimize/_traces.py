"""What a teacher did on training examples: each example run once, shared by all who ask."""

from __future__ import annotations

import json
import random
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mipro.adapters import as_plain
from mipro.context import context, settings
from mipro.errors import (
    AdapterParseError,
    LMError,
    LMRequestError,
    LMUnansweredError,
    ProgramError,
    RunStopped,
    StateError,
    UserError,
)
from mipro.evaluate._outcome import run_example
from mipro.evaluate._threads import parallel_grow
from mipro.example import Example
from mipro.modules import Predict

if TYPE_CHECKING:
    from mipro.evaluate._outcome import Outcome
    from mipro.modules import Module
    from mipro.runs import StageGate

OnProgress = Callable[[int, int], None]
"""Called with the number of steps done and the number known to be needed so far."""

_MAX_ERROR_CHARS = 300  # an answer that can't be read is in the error whole

_FRESH_TEMPERATURE = 1.0  # DSPy's, for the rounds after the first


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """How a teacher is run and judged."""

    metric: Callable[..., Any] | None
    """What says whether a run succeeded; None takes every run that does not raise."""
    metric_threshold: float | None = None
    """Least score of a success; None takes every score that is true (not 0)."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings in force while the teacher runs, such as its `lm`."""
    max_rounds: int = 1
    """Runs per example at most; each after the first is a fresh draw."""
    max_errors: int = 10
    """So many examples on which the program or the metric raise end the search."""
    num_threads: int = 1
    """Examples run at the same time; the results don't depend on it."""
    gate_of: Callable[[int], StageGate] | None = None
    """Makes the gate that the calls for one example pass; None leaves the caller's."""
    seed: int = 0
    """Chooses among several calls of one predictor in one run."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a teacher did on one training example."""

    demos: tuple[Example | None, ...] | None
    """For each predictor a demo of one of its calls, or None where it was not called;
    None for all where no run succeeded."""
    strangers: tuple[str, ...] = ()
    """Signatures of predictors that the run asked, but the program does not hold."""
    error: BaseException | None = None
    """What the last run raised, if it raised."""
    parsed: bool = True
    """False where an answer could not be read or a request was refused, which is no error of the program."""
    answered: bool = True
    """False where the model never answered a call, but others: nothing is known, nobody is to blame."""
    traceback: str = ""
    """Where the program or the metric raised, as text."""

    @property
    def succeeded(self) -> bool:
        """Whether a run passed the metric."""
        return self.demos is not None


class TeacherRuns:
    """Runs a teacher over training examples, each (example, round) pair at most once.

    Args:
        student: Program of the same structure, in the order of whose predictors demos come.
        teacher: Program to run; not modified. A demo of it that is the example at
            hand is hidden from it.
        trainset: Training examples.
        how: How it is run and judged.
        on_progress: Called after each run, in the caller's thread.
    """

    def __init__(
        self,
        student: Module,
        teacher: Module,
        trainset: Sequence[Example],
        how: TeacherSettings,
        *,
        on_progress: OnProgress | None = None,
    ) -> None:
        # A teacher of another class may have set its predictors in another order.
        self._names = [name for name, _ in student.named_predictors()]
        self._teacher = teacher
        self._trainset = trainset
        self._how = how
        self._on_progress = on_progress
        self._attempts: dict[int, Attempt] = {}
        self._num_errors = 0

    def __contains__(self, index: int) -> bool:
        return index in self._attempts

    def __getitem__(self, index: int) -> Attempt:
        return self._attempts[index]

    def __len__(self) -> int:
        return len(self._attempts)

    @property
    def num_succeeded(self) -> int:
        """Examples on which the teacher succeeded so far."""
        return sum(1 for attempt in self._attempts.values() if attempt.succeeded)

    @property
    def num_unanswered(self) -> int:
        """Examples that were passed over, since the model never answered a call about them."""
        return sum(1 for attempt in self._attempts.values() if not attempt.answered)

    def successes(self) -> list[int]:
        """Return the indices of the examples on which the teacher succeeded, in order."""
        return sorted(index for index, attempt in self._attempts.items() if attempt.succeeded)

    def strangers(self) -> list[str]:
        """Return the signatures of predictors that the teacher asked, but does not hold, once each."""
        return sorted({name for attempt in self._attempts.values() for name in attempt.strangers})

    def notes(self) -> list[str]:
        """Return what the user should know: that no run succeeded, and what program or metric raised."""
        errors = [a.error for _, a in sorted(self._attempts.items()) if a.error is not None and a.answered]
        why = ""
        if errors:
            text = textwrap.shorten(f"{type(errors[-1]).__name__}: {errors[-1]}", _MAX_ERROR_CHARS)
            why = f"; on {len(errors)} of them it or the metric raised, the last time {text.rstrip('.')}"
        in_vain = bool(self._attempts) and not self.num_succeeded
        ran = (
            "no demo could be bootstrapped: the teacher succeeded on none of"
            if in_vain
            else "the teacher ran on"
        )
        return [f"{ran} {len(self)} training examples{why}."] if in_vain or errors else []

    def run(self, indices: Iterable[int], *, more: Callable[[], Iterable[int]] = tuple) -> None:
        """Run the teacher on the examples not yet run, in parallel.

        Args:
            indices: Places in the training set.
            more: Asked after each run which further examples are needed; those that are under
                way already may be among them.

        Raises:
            ProgramError: The program or the metric raised on `max_errors` examples;
                its cause is the last of the exceptions.
            LMError: The same, and the last exception came from the model.
        """
        begun = set(self._attempts)

        def fresh(wanted: Iterable[int]) -> list[int]:
            todo = [index for index in dict.fromkeys(wanted) if index not in begun]
            begun.update(todo)
            return todo

        def done(index: int, attempt: Attempt) -> list[int]:
            self._attempts[index] = attempt
            self._count_error(attempt, index)
            todo = fresh(more())
            if self._on_progress is not None:
                self._on_progress(len(self._attempts), len(begun))
            return todo

        parallel_grow(self._attempt, fresh(indices), num_threads=self._how.num_threads, on_done=done)

    def _count_error(self, attempt: Attempt, index: int) -> None:
        if attempt.error is None or not attempt.parsed or not attempt.answered:
            return
        self._num_errors += 1
        if self._num_errors < self._how.max_errors:
            return
        if isinstance(attempt.error, LMError):
            raise attempt.error
        raise ProgramError(
            f"the teacher must run on the training examples, but it or the metric raised on "
            f"{self._num_errors} of {len(self._attempts)} (`max_errors={self._how.max_errors}`), last: "
            f"{type(attempt.error).__name__}: {str(attempt.error).rstrip('.')}, on example {index} of the "
            f"trainset: {dict(self._trainset[index])!r}. Repair the program or the metric, or pass a larger "
            f"`max_errors`.\n{attempt.traceback}",
            count=self._num_errors,
        ) from attempt.error

    def _attempt(self, index: int) -> Attempt:
        attempt = Attempt(None)
        for round_index in range(self._how.max_rounds):
            attempt = self._run_once(index, round_index)
            if attempt.succeeded or not attempt.answered:
                break
        return attempt

    def _run_once(self, index: int, round_index: int) -> Attempt:
        example = self._trainset[index]
        trace: list[Any] = []
        gate = self._how.gate_of(index) if self._how.gate_of else None
        own = {"trace": trace} if gate is None else {"trace": trace, "gate": gate}
        with context(**{**self._how.overrides, **own}):
            teacher = self._teacher_for(example, round_index)
            fresh = {"lm": _redrawn(settings.lm, round_index)} if round_index and settings.lm else {}
            with context(**fresh):
                outcome = run_example(teacher, example, self._how.metric or _accept, trace=trace)
        # The program may have caught it and gone on without the answer.
        failure = outcome.error if gate is None else gate.failure
        if isinstance(failure, (RunStopped, StateError if gate is None else UserError)):
            raise failure
        if isinstance(failure, LMUnansweredError):
            return Attempt(None, error=failure, answered=False)
        if outcome.failure:
            return Attempt(
                None,
                error=outcome.error,
                parsed=not isinstance(outcome.error, (AdapterParseError, LMRequestError)),
                traceback=outcome.traceback,
            )
        if not self._passes(outcome):
            return Attempt(None)
        calls = trace[: outcome.num_calls]
        return Attempt(self._demos(teacher, calls, index), strangers=_strangers(teacher, calls))

    def _passes(self, outcome: Outcome) -> bool:
        score = outcome.score
        if score is None:
            return False
        if self._how.metric_threshold is not None:
            return score >= self._how.metric_threshold
        return bool(score)

    def _teacher_for(self, example: Example, round_index: int) -> Module:
        """Return the teacher itself, or a copy where it must differ for this run."""
        predictors = every_predictor(self._teacher)
        hides = any(shows(demo, example) for predictor in predictors for demo in predictor.demos)
        redraws = bool(round_index) and any(predictor.lm is not None for predictor in predictors)
        if not hides and not redraws:
            return self._teacher
        copied = self._teacher.deepcopy()
        for predictor in every_predictor(copied):
            predictor.demos = [demo for demo in predictor.demos if not shows(demo, example)]
            if redraws and predictor.lm is not None:
                predictor.lm = _redrawn(predictor.lm, round_index)
        return copied

    def _demos(self, teacher: Module, trace: list[Any], index: int) -> tuple[Example | None, ...]:
        named = dict(teacher.named_predictors())
        place = {id(named[name]): i for i, name in enumerate(self._names)}
        calls: list[dict[int, list[Example]]] = [{} for _ in place]
        for predictor, inputs, outputs in trace:
            if id(predictor) in place:
                made = calls[place[id(predictor)]].setdefault(getattr(outputs, "_strand", 0), [])
                made.append(Example({"augmented": True, **dict(inputs.items()), **dict(outputs.items())}))
        # The text of the seed is hashed by SHA-512, the same in every process.
        rng = random.Random(f"{self._how.seed}/{index}")  # noqa: S311 - not for secrets
        return tuple(_one_call(_in_order(made), rng) for made in calls)


@dataclass(frozen=True, slots=True)
class Want:
    """A number of successes, looked for in an order of its own."""

    order: tuple[int, ...]
    """Places in the training set, in the order to try them."""
    size: int
    """Successes wanted."""


def first_successes(
    runs: TeacherRuns, wants: Sequence[Want], *, patience: int | None = None
) -> list[list[int]]:
    """Return for each want the first examples of its order on which the teacher succeeds.

    Exactly those examples are run that are needed whatever the others give, each as soon as
    that is known, so that running in parallel costs no more than running in sequence and gives
    the same result. Until there is a success, what is under way is waited for: all may be in vain.

    Args:
        runs: The teacher's runs; what is there already is not run again.
        wants: What to look for.
        patience: So many failures in a row end the search of one want, and so many
            runs without any success end all; None looks through all examples.

    Returns:
        `found[w]`, at most `wants[w].size` places in the training set.
    """
    walks = [_Walk(runs, want, patience) for want in wants]

    def missing() -> list[int]:
        return [index for walk in walks for index in walk.missing()]

    def more() -> list[int]:
        return missing() if patience is None or runs.num_succeeded else []

    while todo := missing():
        if patience is not None and len(runs) >= patience and not runs.num_succeeded:
            break
        runs.run(todo, more=more)
    return [walk.found for walk in walks]


def check_same_structure(student: Module, teacher: Module) -> None:
    """Check that what the teacher shows can be taken over by the student.

    Raises:
        UserError: They don't have the same predictors with the same fields.
    """
    ours = {name: _fields(predictor) for name, predictor in student.named_predictors()}
    theirs = {name: _fields(predictor) for name, predictor in teacher.named_predictors()}
    if ours != theirs:
        raise UserError(
            "Student and teacher must have the same predictors with the same fields, but the student has "
            f"{ours} and the teacher {theirs}; pass a teacher of the same structure, or `teacher_settings`."
        )


class _Walk:
    """The way of one want through its order; goes on from where all was run, however long the order is."""

    def __init__(self, runs: TeacherRuns, want: Want, patience: int | None) -> None:
        self._runs = runs
        self._want = want
        self._patience = patience
        self._place = self._failures = 0
        self.found: list[int] = []
        """The successes before the first example that was not run."""

    def missing(self) -> list[int]:
        """Return what must be run whether or not the runs before it succeed."""
        missing: list[int] = []
        num_found, failures = len(self.found), self._failures
        for place in range(self._place, len(self._want.order)):
            is_hopeless = self._patience is not None and failures >= self._patience
            if num_found + len(missing) >= self._want.size or is_hopeless:
                break
            index = self._want.order[place]
            if index not in self._runs:
                missing.append(index)
                failures += 1
                continue
            succeeded = self._runs[index].succeeded
            num_found += succeeded
            failures = 0 if succeeded else failures + 1
            if not missing:
                self._place, self._failures = place + 1, failures
                self.found += [index] if succeeded else []
        return missing


def _fields(predictor: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(predictor.signature.input_fields), tuple(predictor.signature.output_fields)


def _strangers(program: Module, calls: Sequence[Any]) -> tuple[str, ...]:
    """Return the signatures of predictors that were asked, but are nowhere in the program."""
    held = set(map(id, every_predictor(program)))
    asked = (predictor for predictor, *_ in calls if id(predictor) not in held)
    return tuple(predictor.signature.signature for predictor in asked if isinstance(predictor, Predict))


def _in_order(strands: dict[int, list[Example]]) -> list[Example]:
    """Return the calls of one predictor in an order that does not depend on what was faster.

    The calls of one strand of the program follow one upon the other. Strands that ran beside
    each other may each be the first: they are ordered by what was asked and answered.

    Args:
        strands: The calls by strand.
    """
    made = list(strands.values())
    if len(made) > 1:
        made.sort(key=lambda demos: [json.dumps(as_plain(dict(demo.items())), default=str) for demo in demos])
    return [demo for demos in made for demo in demos]


def _one_call(made: list[Example], rng: random.Random) -> Example | None:
    """Choose one of several calls: the last in half of all cases, as DSPy does."""
    if len(made) < 2:  # noqa: PLR2004 - one of two
        return made[0] if made else None
    return rng.choice(made[:-1]) if rng.random() < 0.5 else made[-1]  # noqa: PLR2004 - one of two


def _redrawn(lm: Any, round_index: int) -> Any:
    if lm.supports_reasoning:
        return lm.copy(rollout_id=round_index)
    return lm.copy(rollout_id=round_index, temperature=_FRESH_TEMPERATURE)


def every_predictor(program: Module) -> list[Predict]:
    """Return all predictors of a program, also those in modules that were optimized before."""
    return [predictor for _, predictor in program.named_sub_modules(Predict)]


def shows(demo: Any, example: Example) -> bool:
    """Whether a demo gives away the answer to an example: it has its inputs."""
    inputs = example.inputs()
    return bool(len(inputs)) and all(
        key in demo and _equal(demo[key], value) for key, value in inputs.items()
    )


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - arrays, tables and tensors answer for each number, and raise as they like
        from mipro.runs import canonical  # noqa: PLC0415 - heavy, and seldom needed

        return canonical(one) == canonical(other)


def _accept(*_: Any, **__: Any) -> bool:
    return True
