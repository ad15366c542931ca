"""Stage 1 of MIPROv2: sets of demos to choose from, and demos to ground the proposals."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mipro.optimize._traces import (
    OnProgress,
    TeacherRuns,
    TeacherSettings,
    Want,
    check_same_structure,
    first_successes,
)
from mipro.propose import token_estimate

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping, Sequence

    from mipro.example import Example
    from mipro.modules import Module
    from mipro.runs import StageGate

Kind = Literal["original", "labelled", "bootstrap", "shuffled bootstrap", "recombined"]

# Demos bootstrapped to ground the proposals where none are wanted in the prompt; DSPy's.
_GROUNDING_DEMOS = 3
# A teacher that fails so often in a row is not worth its calls any more.
_PATIENCE = 50
_MAX_REDRAWS = 8


@dataclass(frozen=True, slots=True)
class DemoSets:
    """The demo sets that the search chooses from."""

    sets: tuple[tuple[tuple[Any, ...], ...], ...]
    """`sets[p][d]`: the demos of predictor p in set d; set 0 is the program's own, and
    the only one of a predictor that is frozen."""
    source: tuple[Kind, ...]
    """How each set came about."""
    grounding: tuple[tuple[Example, ...], ...]
    """For each predictor good demos to show to the proposer: bootstrapped ones, or
    labelled ones where the teacher never succeeded."""
    notes: tuple[str, ...] = ()
    """What the user should know, such as why there are fewer sets than asked for."""
    num_attempts: int = 0
    """Training examples that the teacher was run on."""
    num_successes: int = 0
    """Those on which it passed the metric."""

    @classmethod
    def original(cls, program: Module) -> DemoSets:
        """Return the demos that the program came with, and no others."""
        own = tuple(tuple(predictor.demos) for predictor in program.predictors())
        return cls(tuple((demos,) for demos in own), ("original",), ((),) * len(own))


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one set is to be drawn; everything random about it is decided here."""

    kind: Kind
    want: Want
    labelled: tuple[int, ...]
    """Training examples in the order in which they are taken as labelled demos."""
    max_labeled: int


@dataclass(frozen=True, slots=True)
class _Limits:
    max_bootstrapped: int
    max_labeled: int
    max_demo_tokens: int | None


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
        gate_of: Makes the gate that the calls for one example of a run pass.
        on_progress: Called after each run of the teacher with the number of runs done
            and the number known to be needed so far.

    Returns:
        The sets, how they came about, and demos to ground proposals.

    Raises:
        ProgramError: The program or the metric raised on `max_errors` examples.
        UserError: The teacher's structure is not the program's.
    """
    limits = _Limits(max_bootstrapped, max_labeled, max_demo_tokens)
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
    runs = TeacherRuns(ready, trainset, how, on_progress=on_progress)
    collector = _Collector(program, trainset, runs, limits, rng, frozen)
    return collector.collect(count)


class _Collector:
    def __init__(
        self,
        program: Module,
        trainset: Sequence[Example],
        runs: TeacherRuns,
        limits: _Limits,
        rng: random.Random,
        frozen: Collection[int],
    ) -> None:
        self._frozen = frozen
        self._trainset = trainset
        self._runs = runs
        self._limits = limits
        self._rng = rng
        self._names = [name for name, _ in program.named_predictors()]
        self._own = [tuple(predictor.demos) for predictor in program.predictors()]
        self._usable = [
            [is_labelled_demo(example, predictor) for example in trainset]
            for predictor in program.predictors()
        ]

    def collect(self, count: int) -> DemoSets:
        zero_shot = not self._limits.max_bootstrapped and not self._limits.max_labeled
        drawn: list[tuple[Kind, tuple[tuple[Any, ...], ...]]] = [("original", tuple(self._own))]
        if zero_shot:
            everything = Want(tuple(range(len(self._trainset))), _GROUNDING_DEMOS)
            first_successes(self._runs, [everything], patience=_PATIENCE)
        elif self._trainset:
            drawn += self._draw(count - 1)
        return DemoSets(
            sets=tuple(
                tuple(demos[p] for _, demos in (drawn[:1] if p in self._frozen else drawn))
                for p in range(len(self._own))
            ),
            source=tuple(kind for kind, _ in drawn),
            grounding=self._grounding(),
            notes=tuple(self._notes(len(drawn), count, zero_shot=zero_shot)),
            num_attempts=len(self._runs),
            num_successes=self._runs.num_succeeded,
        )

    def _draw(self, count: int) -> list[tuple[Kind, tuple[tuple[Any, ...], ...]]]:
        """Draw `count` sets that differ from each other and from the original."""
        plans = [self._plan(kind) for kind in self._kinds(count)]
        drawn: list[tuple[Kind, tuple[tuple[Any, ...], ...]]] = []
        seen = {_identity(tuple(self._own))}
        for _ in range(_MAX_REDRAWS + 1):
            again = []
            wants = [plan.want for plan in plans]
            found = first_successes(self._runs, wants, patience=_PATIENCE) if wants else []
            for plan, indices in zip(plans, found, strict=True):
                demos = self._compose(plan, indices)
                kind: Kind = plan.kind if indices else "labelled"
                if _identity(demos) in seen:
                    again.append(
                        self._plan("labelled" if kind == "labelled" else "shuffled bootstrap", again=True)
                    )
                else:
                    seen.add(_identity(demos))
                    drawn.append((kind, demos))
            plans = again
        order: tuple[Kind, ...] = ("labelled", "bootstrap", "shuffled bootstrap")
        return sorted(drawn, key=lambda pair: order.index(pair[0]))

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
            size = self._rng.randint(1, max_labeled) if again and max_labeled else max_labeled
            return _Plan(kind, Want((), 0), labelled, size)
        if kind == "bootstrap":
            return _Plan(kind, Want(tuple(places), self._limits.max_bootstrapped), labelled, max_labeled)
        self._rng.shuffle(places)
        size = self._rng.randint(1, self._limits.max_bootstrapped)
        return _Plan(kind, Want(tuple(places), size), labelled, max_labeled)

    def _compose(self, plan: _Plan, indices: list[int]) -> tuple[tuple[Any, ...], ...]:
        return tuple(
            own if p in self._frozen else self._compose_one(p, plan, indices)
            for p, own in enumerate(self._own)
        )

    def _compose_one(self, p: int, plan: _Plan, indices: list[int]) -> tuple[Any, ...]:
        demos: list[Any] = [demo for i in indices if (demo := self._bootstrapped(i, p)) is not None]
        unused = (i for i in plan.labelled if i not in indices and self._usable[p][i])
        room = max(plan.max_labeled - len(demos), 0)
        demos += [self._trainset[i] for i, _ in zip(unused, range(room), strict=False)]
        return trim(demos, self._limits.max_demo_tokens)

    def _bootstrapped(self, index: int, p: int) -> Example | None:
        demos = self._runs[index].demos
        return demos[p] if demos is not None else None

    def _grounding(self) -> tuple[tuple[Example, ...], ...]:
        successes = self._runs.successes()
        return tuple(
            tuple(demo for i in successes if (demo := self._bootstrapped(i, p)) is not None)
            or tuple(row for row, usable in zip(self._trainset, self._usable[p], strict=True) if usable)
            for p in range(len(self._own))
        )

    def _idle(self) -> list[str]:
        """Return the names of the predictors that no success called, frozen ones aside."""
        successes = self._runs.successes()
        return [
            name
            for p, name in enumerate(self._names)
            if p not in self._frozen and successes and not any(self._bootstrapped(i, p) for i in successes)
        ]

    def _notes(self, made: int, count: int, *, zero_shot: bool) -> list[str]:
        notes = []
        if self._runs.num_unanswered:
            notes.append(
                f"{self._runs.num_unanswered} training examples were passed over: the model answered "
                "others, but never a call about them."
            )
        if len(self._runs) and not self._runs.num_succeeded:
            notes.append(
                f"no demo could be bootstrapped: the teacher succeeded on none of {len(self._runs)} training "
                "examples; labelled examples are used alone."
            )
        notes += [
            f"`{name}` was called on none of the {self._runs.num_succeeded} training examples that the "
            "teacher succeeded on, so that what is proposed for it may change nothing."
            for name in self._idle()
        ]
        if made < count and not zero_shot:
            notes.append(
                f"{made} demo sets instead of {count}: the training data do not give more different ones."
            )
        return notes


def recombine(
    before: DemoSets,
    worth: Sequence[Sequence[float]],
    *,
    count: int,
    max_bootstrapped: int,
    max_demo_tokens: int | None,
    rng: random.Random,
) -> DemoSets:
    """Add sets made of the demos whose sets did well.

    The worth of a demo has a normal posterior from the sets that it is in; each new set takes
    the demos that come out best in a draw from it (Thompson sampling).

    Args:
        before: The sets so far.
        worth: For each predictor the expected score with each of its sets.
        count: Sets to add for each predictor that has any to choose from; fewer come if no
            others can be made.
        max_bootstrapped: Bootstrapped demos in a set at most.
        max_demo_tokens: Bound on the (estimated) tokens of a set.
        rng: Source of the draws; advanced in place.
    """
    sets = []
    for own, scores in zip(before.sets, worth, strict=True):
        made = list(own)
        seen = {_identity((demos,)) for demos in own}
        for _ in range(count * _MAX_REDRAWS if len(own) > 1 else 0):
            demos = trim(_mixed(own, scores, max_bootstrapped, rng), max_demo_tokens)
            if _identity((demos,)) not in seen and len(made) < len(own) + count:
                seen.add(_identity((demos,)))
                made.append(demos)
        sets.append(tuple(made))
    recombined: Kind = "recombined"
    more = max(map(len, sets)) - len(before.source)
    return replace(before, sets=tuple(sets), source=(*before.source, *[recombined] * more))


def _mixed(
    sets: Sequence[tuple[Any, ...]], scores: Sequence[float], max_bootstrapped: int, rng: random.Random
) -> tuple[Any, ...]:
    """Draw one set, as large as one of the better half of them."""
    mean, spread = statistics.fmean(scores), statistics.pstdev(scores) or 1.0
    found: dict[tuple[frozenset[str], ...], tuple[Any, list[float]]] = {}
    for demos, score in zip(sets, scores, strict=True):
        for demo in demos:
            found.setdefault(_identity(((demo,),)), (demo, []))[1].append((score - mean) / spread)
    drawn = []
    for demo, worths in found.values():
        precision = len(worths) + 1
        drawn.append((rng.gauss(sum(worths) / precision, precision**-0.5), demo))
    drawn.sort(key=lambda pair: -pair[0])
    best = sorted((pair for pair in zip(scores, sets, strict=True) if pair[1]), key=lambda pair: -pair[0])
    size = len(rng.choice(best[: -(-len(best) // 2)])[1]) if best else 0
    bootstrapped = [demo for _, demo in drawn[:size] if demo.get("augmented")][:max_bootstrapped]
    return (*bootstrapped, *(demo for _, demo in drawn[:size] if not demo.get("augmented")))


def is_labelled_demo(example: Example, predictor: Any) -> bool:
    """Whether a training example shows a predictor anything: an input and an output of it."""
    signature = predictor.signature
    return any(name in example for name in signature.input_fields) and any(
        name in example for name in signature.output_fields
    )


def trim(demos: Sequence[Any], max_tokens: int | None) -> tuple[Any, ...]:
    """Return the demos that fit into about `max_tokens`, the first ones first."""
    if max_tokens is None:
        return tuple(demos)
    kept = []
    left = max_tokens
    for demo in demos:
        tokens = sum(token_estimate(f"{name}: {demo[name]}") for name in demo if name != "augmented")
        if tokens <= left:
            kept.append(demo)
            left -= tokens
    return tuple(kept)


def _ready_teacher(
    program: Module, teacher: Module | None, trainset: Sequence[Example], limits: _Limits, rng: random.Random
) -> Module:
    """Return a copy of the teacher, with labelled demos where it has none of its own."""
    if teacher is not None:
        check_same_structure(program, teacher)
    ready = (teacher if teacher is not None else program).deepcopy()
    grounding_only = not limits.max_bootstrapped and not limits.max_labeled
    size = _GROUNDING_DEMOS if grounding_only else limits.max_labeled
    order = rng.sample(range(len(trainset)), len(trainset))
    for predictor in ready.predictors():
        if not predictor.demos:
            usable = [trainset[i] for i in order if is_labelled_demo(trainset[i], predictor)]
            predictor.demos = list(trim(usable[:size], limits.max_demo_tokens))
    return ready


def _identity(demos: tuple[tuple[Any, ...], ...]) -> tuple[frozenset[str], ...]:
    """Equal for sets with the same demos in whatever order."""
    return tuple(
        frozenset(repr(sorted(dict(demo.items()).items(), key=str)) for demo in own) for own in demos
    )
