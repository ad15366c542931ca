"""Stage 1 of MIPROv2: sets of demos to choose from, and demos to ground the proposals."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro._canonical import distinct
from mipro.adapters import is_optional
from mipro.optimize._data import is_missing
from mipro.optimize._demo_sets import (
    MAX_REDRAWS,
    DemoLimits,
    DemoSet,
    DemoSets,
    Kind,
    Showing,
    identity,
    trim,
)
from mipro.optimize._traces import (
    OnProgress,
    TeacherRuns,
    TeacherSettings,
    Want,
    check_same_structure,
    first_successes,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mipro.example import Example
    from mipro.modules import Module
    from mipro.runs import StageGate

# Demos bootstrapped to ground the proposals where none are wanted in the prompt; DSPy's.
_GROUNDING_DEMOS = 3
# A teacher that fails so often in a row is not worth its calls any more.
_PATIENCE = 50


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one set is to be drawn; everything random about it is decided here."""

    kind: Kind
    want: Want
    labelled: tuple[int, ...]
    """Training examples in the order in which they are taken as labelled demos."""
    max_labeled: int


def collect_demos(  # noqa: PLR0913 - the settings of a stage, keyword-only
    program: Module,
    trainset: Sequence[Example],
    *,
    metric: Callable[..., Any] | None,
    count: int,
    max_bootstrapped: int,
    max_labeled: int,
    metric_threshold: float | None = None,
    teacher: Module | None = None,
    teacher_settings: Mapping[str, Any] | None = None,
    max_rounds: int = 1,
    max_errors: int = 10,
    num_threads: int = 1,
    rng: random.Random,
    max_demo_tokens: int | None = None,
    frozen: Collection[int] = (),
    grounds: bool = True,
    gate_of: Callable[[int], StageGate] | None = None,
    on_progress: OnProgress | None = None,
) -> DemoSets:
    """Collect demo sets for a program from its training data.

    After the program's own demos come labelled demos, then the first successes of the
    teacher in the order of the data, then its successes in shuffled orders, a random
    number each. Bootstrapped sets are filled up with labelled examples, counted per
    predictor. A set takes the demos of all predictors from the same runs of the teacher.

    The teacher runs only on examples that some set needs, each (example, round) once:
    a set needs those that come before its last success in its own order. A set ends its
    search after 50 failures in a row, and all do after 50 runs without a success.

    Args:
        program: Program to collect for; not modified.
        trainset: Training examples.
        metric: Says whether a run of the teacher succeeded; None takes every run.
        count: Sets wanted, the original included; fewer come back if the data do not
            give so many different ones.
        max_bootstrapped: Bootstrapped demos per set at most.
        max_labeled: Demos per set and predictor at most that are filled up to with
            labelled examples. With both limits 0 only set 0 comes back, and up to three
            demos are bootstrapped to ground the proposals.
        metric_threshold: Least score of a success; by default any that is not 0.
        teacher: Program to run instead of `program`; of the same structure.
        teacher_settings: Settings in force while the teacher runs, such as its `lm`.
        max_rounds: Runs of the teacher per example at most, each a fresh draw.
        max_errors: So many examples on which program or metric raise are an error.
        num_threads: Examples run at the same time; does not change the result.
        rng: Source of all draws; advanced in place.
        max_demo_tokens: Bound on the (estimated) tokens of one predictor's demos in a
            set; demos beyond it are left out, labelled ones first.
        frozen: Places of predictors that keep their own demos.
        grounds: Whether proposals will be shown demos; else none is bootstrapped where both limits are 0.
        gate_of: Makes the gate that the calls for one example of a run pass.
        on_progress: Called after each run of the teacher with the number of runs done
            and the number known to be needed so far.

    Returns:
        The sets, how they came about, and demos to ground proposals.

    Raises:
        ProgramError: The program or the metric raised on `max_errors` examples.
        UserError: The teacher's structure is not the program's.
    """
    limits = DemoLimits(max_bootstrapped, max_labeled, max_demo_tokens)
    how = TeacherSettings(
        metric,
        metric_threshold,
        dict(teacher_settings or {}),
        max_rounds,
        max_errors,
        num_threads,
        gate_of,
        rng.getrandbits(32),
    )
    ready = _ready_teacher(program, teacher, trainset, limits, rng)
    runs = TeacherRuns(program, ready, trainset, how, on_progress=on_progress)
    collector = _Collector(program, trainset, runs, limits, rng, frozen)
    return collector.collect(count, grounds=grounds)


class _Collector:
    def __init__(
        self,
        program: Module,
        trainset: Sequence[Example],
        runs: TeacherRuns,
        limits: DemoLimits,
        rng: random.Random,
        frozen: Collection[int],
    ) -> None:
        self._frozen = frozen
        self._trainset = trainset
        self._runs = runs
        self._limits = limits
        self._rng = rng
        self._names = [name for name, _ in program.named_predictors()]
        self._is_trimmed = False
        self._own = [tuple(predictor.demos) for predictor in program.predictors()]
        self._usable = [
            [is_labelled_demo(example, predictor) for example in trainset]
            for predictor in program.predictors()
        ]

    def collect(self, count: int, *, grounds: bool) -> DemoSets:
        drawn = [self._original()]
        if self._limits.zero_shot:
            everything = Want(tuple(range(len(self._trainset))), _GROUNDING_DEMOS if grounds else 0)
            first_successes(self._runs, [everything], patience=_PATIENCE)
        elif self._trainset:
            drawn += self._draw(count - 1)
        return DemoSets(
            sets=tuple(self._choices(p, drawn) for p in range(len(self._own))),
            source=tuple(made.kind for made in drawn),
            showings=tuple(made.showings for made in drawn),
            grounding=self._grounding(),
            notes=tuple(self._notes(len(drawn), count)),
            num_attempts=len(self._runs),
            num_successes=self._runs.num_succeeded,
        )

    def _choices(self, p: int, drawn: Sequence[DemoSet]) -> tuple[tuple[Any, ...], ...]:
        """Return what a predictor has to choose from: one set where it is frozen or all are the same."""
        sets = tuple(made.demos[p] for made in drawn)
        # Equal ones would cost the search what it takes to find out that nothing comes of them.
        return sets[:1] if p in self._frozen or len(set(identity(sets))) == 1 else sets

    def _original(self) -> DemoSet:
        """Return the program's own demos; those at the same place are taken to belong together."""
        rows = itertools.zip_longest(*self._own)
        return DemoSet(
            "original", tuple(self._own), tuple(Showing("own", i, row) for i, row in enumerate(rows))
        )

    def _draw(self, count: int) -> list[DemoSet]:
        """Draw `count` sets that differ from each other and from the original."""
        plans = [self._plan(kind) for kind in self._kinds(count)]
        drawn: list[DemoSet] = []
        seen = {identity(tuple(self._own))}
        for _ in range(MAX_REDRAWS + 1):
            again = []
            wants = [plan.want for plan in plans]
            found = first_successes(self._runs, wants, patience=_PATIENCE) if wants else []
            for plan, indices in zip(plans, found, strict=True):
                made = self._compose(plan, indices)
                if identity(made.demos) in seen:
                    again.append(
                        self._plan(
                            "labelled" if made.kind == "labelled" else "shuffled bootstrap", again=True
                        )
                    )
                else:
                    seen.add(identity(made.demos))
                    drawn.append(made)
            plans = again
        order: tuple[Kind, ...] = ("labelled", "bootstrap", "shuffled bootstrap")
        return sorted(drawn, key=lambda made: order.index(made.kind))

    def _kinds(self, count: int) -> list[Kind]:
        if not self._limits.max_bootstrapped:
            first: list[Kind] = ["labelled"]
            return first * count
        first = ["labelled", "bootstrap"] if self._limits.max_labeled else ["bootstrap"]
        more: list[Kind] = ["shuffled bootstrap"]
        return [*first, *more * count][: max(count, 0)]

    def _plan(self, kind: Kind, *, again: bool = False) -> _Plan:
        places = list(range(len(self._trainset)))
        labelled = tuple(self._rng.sample(places, len(places)))
        max_labeled = self._limits.max_labeled
        if kind == "labelled":
            most = min(max_labeled, len(places))
            size = self._rng.randint(1, most) if again and most else max_labeled
            return _Plan(kind, Want((), 0), labelled, size)
        if kind == "bootstrap":
            return _Plan(kind, Want(tuple(places), self._limits.max_bootstrapped), labelled, max_labeled)
        self._rng.shuffle(places)
        size = self._rng.randint(1, self._limits.max_bootstrapped)
        return _Plan(kind, Want(tuple(places), size), labelled, max_labeled)

    def _compose(self, plan: _Plan, indices: list[int]) -> DemoSet:
        demos, labelled = [], set()
        for p, own in enumerate(self._own):
            if p in self._frozen:
                demos.append(own)
                continue
            # Once each: a step that is given the same for several examples may answer the same.
            made = distinct(demo for i in indices if (demo := self._bootstrapped(i, p)) is not None)
            unused = (i for i in plan.labelled if i not in indices and self._usable[p][i])
            room = max(plan.max_labeled - len(made), 0)
            taken = [i for i, _ in zip(unused, range(room), strict=False)]
            labelled.update(taken)
            wanted = [*made, *(self._trainset[i] for i in taken)]
            demos.append(trim(wanted, self._limits.max_tokens))
            self._is_trimmed |= len(demos[-1]) < len(wanted)
        showings = [*(self._run(i) for i in indices), *(self._example(i) for i in sorted(labelled))]
        return DemoSet(plan.kind if indices else "labelled", tuple(demos), tuple(showings))

    def _run(self, index: int) -> Showing:
        return Showing("run", index, tuple(self._bootstrapped(index, p) for p in range(len(self._own))))

    def _example(self, index: int) -> Showing:
        row = self._trainset[index]
        return Showing("example", index, tuple(row if usable[index] else None for usable in self._usable))

    def _bootstrapped(self, index: int, p: int) -> Example | None:
        demos = self._runs[index].demos
        return demos[p] if demos is not None else None

    def _grounding(self) -> tuple[tuple[Example, ...], ...]:
        successes = self._runs.successes()
        return tuple(
            tuple(distinct(demo for i in successes if (demo := self._bootstrapped(i, p)) is not None))
            or tuple(row for row, usable in zip(self._trainset, self._usable[p], strict=True) if usable)
            for p in range(len(self._own))
        )

    def _idle(self) -> list[str]:
        """Return the names of the predictors that answered in no success, frozen ones aside."""
        successes = self._runs.successes()
        return [
            name
            for p, name in enumerate(self._names)
            if p not in self._frozen and successes and not any(self._bootstrapped(i, p) for i in successes)
        ]

    def _notes(self, made: int, count: int) -> list[str]:
        notes = []
        if self._runs.num_unanswered:
            notes.append(
                f"{self._runs.num_unanswered} training examples were passed over: the model answered "
                "others, but never a call about them."
            )
        notes += self._runs.notes()
        notes += [
            f"`{name}` was not called, or gave no answer that could be read, on any of the "
            f"{self._runs.num_succeeded} training examples that the teacher succeeded on, so that what is "
            "proposed for it may change nothing."
            for name in self._idle()
        ]
        if strangers := self._runs.strangers():
            notes.append(
                "the program asks predictors that it does not hold, and that are left as they are: "
                f"{', '.join(strangers)}. Assign them to attributes in `__init__`; where a tool asks them, "
                "let it be a method, since another function asks those of the program that it was made in."
            )
        if made < count and not self._limits.zero_shot:
            fitting = f" within `max_demo_tokens={self._limits.max_tokens}`" if self._is_trimmed else ""
            notes.append(
                f"{made} demo {'sets' if made > 1 else 'set'} instead of {count}: the training data do not "
                f"give more different ones{fitting}."
            )
        return notes


def is_labelled_demo(example: Example, predictor: Any) -> bool:
    """Whether a training example shows a predictor anything: an input and an output of it.

    None is no output but a label that is missing, except where the field takes None; NaN is none anywhere.
    """
    signature = predictor.signature
    return any(name in example for name in signature.input_fields) and any(
        name in example
        and not is_missing(example[name])
        and (example[name] is not None or is_optional(field.annotation))
        for name, field in signature.output_fields.items()
    )


def _ready_teacher(
    program: Module,
    teacher: Module | None,
    trainset: Sequence[Example],
    limits: DemoLimits,
    rng: random.Random,
) -> Module:
    """Return a copy of the teacher, with labelled demos where it has none of its own."""
    if teacher is not None:
        check_same_structure(program, teacher)
    ready = (teacher if teacher is not None else program).deepcopy()
    size = _GROUNDING_DEMOS if limits.zero_shot else limits.max_labeled
    order = rng.sample(range(len(trainset)), len(trainset))
    for predictor in ready.predictors():
        if not predictor.demos:
            usable = [trainset[i] for i in order if is_labelled_demo(trainset[i], predictor)]
            predictor.demos = list(trim(usable[:size], limits.max_tokens))
    return ready
