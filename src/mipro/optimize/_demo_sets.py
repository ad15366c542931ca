"""Sets of demos: what they hold, where it is from, and new sets made of those that did well."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from mipro._canonical import distinct
from mipro.propose import token_estimate, value_tokens
from mipro.runs import canonical

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from mipro.example import Example
    from mipro.modules import Module

Kind = Literal["original", "labelled", "bootstrap", "shuffled bootstrap", "recombined"]

MAX_REDRAWS = 8
"""Times that a set is drawn again because there is an equal one."""


@dataclass(frozen=True, slots=True)
class Showing:
    """What one run of the program, or one example as it is, shows to all predictors."""

    kind: Literal["own", "run", "example"]
    """A demo that the program came with, a run of the teacher, or a labelled example."""
    number: int
    """Place of the training example, or of the demo that the program came with."""
    demos: tuple[Any, ...] = field(compare=False)
    """For each predictor its demo, or None where it has none."""

    @property
    def is_bootstrapped(self) -> bool:
        """Whether a program made it, and nobody wrote it down."""
        return any(demo is not None and demo.get("augmented") for demo in self.demos)


@dataclass(frozen=True, slots=True)
class DemoSet:
    """One set for all predictors."""

    kind: Kind
    demos: tuple[tuple[Any, ...], ...]
    """By predictor."""
    showings: tuple[Showing, ...]
    """What it was made from."""


@dataclass(frozen=True, slots=True)
class DemoSets:
    """The demo sets that the search chooses from."""

    sets: tuple[tuple[tuple[Any, ...], ...], ...]
    """`sets[p][d]`: the demos of predictor p in set d; set 0 is the program's own, and
    the only one of a predictor that is frozen, or for which all sets are the same."""
    source: tuple[Kind, ...]
    """How each set came about."""
    grounding: tuple[tuple[Example, ...], ...]
    """For each predictor good demos to show to the proposer: bootstrapped ones, or
    labelled ones where the teacher never succeeded."""
    showings: tuple[tuple[Showing, ...], ...] = ()
    """What each set was made from, for all predictors together."""
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
class DemoLimits:
    """What one predictor's demos in a set may be."""

    max_bootstrapped: int
    """Bootstrapped demos at most."""
    max_labeled: int
    """Demos at most that are filled up to with labelled examples."""
    max_tokens: int | None
    """Tokens of all of them at most, estimated."""

    @property
    def zero_shot(self) -> bool:
        """Whether there are to be none, so that demos serve to ground proposals alone."""
        return not self.max_bootstrapped and not self.max_labeled


def trim(demos: Sequence[Any], max_tokens: int | None) -> tuple[Any, ...]:
    """Return the demos that fit into about `max_tokens`, the first ones first."""
    if max_tokens is None:
        return tuple(demos)
    kept = []
    left = max_tokens
    for demo in demos:
        fields = [name for name in demo if name != "augmented"]
        tokens = sum(token_estimate(f"{name}: ") + value_tokens(demo[name]) for name in fields)
        if tokens <= left:
            kept.append(demo)
            left -= tokens
    return tuple(kept)


def identity(demos: Sequence[Sequence[Any]]) -> tuple[frozenset[str], ...]:
    """Return what is equal for sets with the same demos in whatever order.

    Args:
        demos: The demos by predictor.
    """
    return tuple(frozenset(canonical(dict(demo.items())) for demo in own) for own in demos)


def recombine(
    before: DemoSets,
    worth: Sequence[Sequence[float]],
    *,
    count: int,
    limits: DemoLimits,
    rng: random.Random,
) -> DemoSets:
    """Add sets made of what the sets that did well show.

    What a set shows is drawn for all predictors at once, so that their demos are of the same runs.
    The worth of a run or an example has a normal posterior from the sets that show it; each new set
    takes those that come out best in a draw from it (Thompson sampling).

    Args:
        before: The sets so far.
        worth: For each predictor the expected score with each of its sets.
        count: Sets to add for the predictors that have any to choose from; fewer come if no
            others can be made.
        limits: What the demos of a predictor may be.
        rng: Source of the draws; advanced in place.
    """
    free = [p for p, own in enumerate(before.sets) if len(own) > 1]
    if not free:
        return before
    value = _values([worth[p] for p in free])
    seen = {identity([before.sets[p][d] for p in free]) for d in range(len(value))}
    new: list[DemoSet] = []
    for _ in range(count * MAX_REDRAWS):
        if len(new) == count:
            break
        made = _mixed(before, value, free, limits, rng)
        same = identity([made.demos[p] for p in free])
        if same not in seen:
            seen.add(same)
            new.append(made)
    return replace(
        before,
        sets=tuple(
            (*own, *(made.demos[p] for made in new)) if p in free else own
            for p, own in enumerate(before.sets)
        ),
        source=(*before.source, *(made.kind for made in new)),
        showings=(*before.showings, *(made.showings for made in new)),
    )


def _values(worth: Sequence[Sequence[float]]) -> list[float]:
    """Return what each set is worth, in standard deviations from the mean, over all predictors."""
    scaled = []
    for scores in worth:
        mean, spread = statistics.fmean(scores), statistics.pstdev(scores) or 1.0
        scaled.append([(score - mean) / spread for score in scores])
    return [statistics.fmean(column) for column in zip(*scaled, strict=True)]


def _mixed(
    before: DemoSets, value: Sequence[float], free: Sequence[int], limits: DemoLimits, rng: random.Random
) -> DemoSet:
    """Draw one set, as large as one of the better half of them."""
    drawn = _by_worth(before.showings, value, rng)
    better = sorted((d for d, shown in enumerate(before.showings) if shown), key=lambda d: -value[d])
    like = rng.choice(better[: -(-len(better) // 2)]) if better else 0
    most = max(len(before.sets[p][like]) for p in free)
    runs = [showing for showing in drawn[:most] if showing.is_bootstrapped][: limits.max_bootstrapped]
    run_on = {Showing("example", showing.number, ()) for showing in runs if showing.kind == "run"}
    others = [showing for showing in drawn if not showing.is_bootstrapped and showing not in run_on]
    demos, used = [], set()
    for p, own in enumerate(before.sets):
        if p not in free:
            demos.append(own[0])
            continue
        made = distinct(showing.demos[p] for showing in runs if showing.demos[p] is not None)
        room = max(min(limits.max_labeled, len(own[like])) - len(made), 0)
        filling = [showing for showing in others if showing.demos[p] is not None][:room]
        used.update(filling)
        demos.append(trim([*made, *(showing.demos[p] for showing in filling)], limits.max_tokens))
    showings = (*runs, *(showing for showing in others if showing in used))
    return DemoSet("recombined", tuple(demos), showings)


def _by_worth(
    showings: Sequence[Sequence[Showing]], value: Sequence[float], rng: random.Random
) -> list[Showing]:
    """Return all that the sets show, best first in a draw of what it is worth."""
    found: dict[Showing, list[float]] = {}
    for shown, worth in zip(showings, value, strict=True):
        for showing in shown:
            found.setdefault(showing, []).append(worth)
    drawn = []
    for showing, worths in found.items():
        precision = len(worths) + 1
        drawn.append((rng.gauss(sum(worths) / precision, precision**-0.5), showing))
    drawn.sort(key=lambda pair: -pair[0])
    return [showing for _, showing in drawn]
