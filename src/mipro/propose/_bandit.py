"""Which tip to give and what to show next: a bandit over what has paid so far."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro.propose._records import COMPONENTS, ORIGINAL, Origin, Proposals, ScoredInstruction
from mipro.propose._tips import TIPS, draw_tips

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

IN_FAVOUR = 1.0
"""How much worse, in standard deviations, a component may look and still be shown."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one instruction is asked for."""

    tip: str
    left_out: tuple[str, ...] = ()
    labels: bool | None = None
    """Whether to state a closed set of labels after it; None while nothing speaks for or against it."""


def what_paid(before: Proposals, history: Iterable[ScoredInstruction]) -> tuple[tuple[Origin, float], ...]:
    """Return how each instruction tried came about, with its score beside the others of its predictor.

    Args:
        before: The proposals so far.
        history: Instructions tried, with their scores.

    Returns:
        Origins and scores, as standard deviations from the mean of the predictor's proposals; the
        original instruction, which no tip made, is left out.
    """
    scores = {(tried.predictor, tried.instruction): tried.score for tried in history}
    paid: list[tuple[Origin, float]] = []
    for p, (texts, origins) in enumerate(zip(before.instructions, before.origins, strict=True)):
        known = [
            (origin, scores[p, text])
            for text, origin in zip(texts, origins, strict=True)
            if origin.tip != ORIGINAL and (p, text) in scores
        ]
        if len(known) < 2:  # noqa: PLR2004 - a single one has nothing to be better than
            continue
        mean = statistics.fmean(score for _, score in known)
        spread = statistics.pstdev([score for _, score in known]) or 1.0
        paid.extend((origin, (score - mean) / spread) for origin, score in known)
    return tuple(paid)


def draw_recipes(
    count: int, paid: Sequence[tuple[Origin, float]], rng: random.Random, *, use_tips: bool = True
) -> list[Recipe]:
    """Return `count` ways to ask for an instruction, by Thompson sampling over what has paid.

    The worth of a tip, and of showing a component, has a standard normal prior; each instruction
    made with it is an observation with a standard deviation of one. No tip is given again before
    all have been given, and without any experience they come in random order with all shown.

    Args:
        count: Number of recipes.
        paid: How instructions came about and what they were worth, in standard deviations.
        rng: Source of the draws; advanced in place.
        use_tips: Whether to give tips at all.
    """
    if not paid:
        return [Recipe(tip) for tip in draw_tips(count, rng, use=use_tips)]
    recipes: list[Recipe] = []
    waiting: list[str] = []
    for _ in range(count):
        waiting = waiting or sorted(TIPS)
        worth = {tip: _draw([w for origin, w in paid if origin.tip == tip], rng) for tip in waiting}
        tip = max(waiting, key=lambda tip: worth[tip]) if use_tips else "none"
        waiting = [other for other in waiting if other != tip]
        left_out = tuple(c for c in COMPONENTS if not _is_shown(c, paid, rng))
        with_labels = _draw([worth for origin, worth in paid if origin.labels], rng)
        without = _draw([worth for origin, worth in paid if not origin.labels], rng)
        recipes.append(Recipe(tip, left_out, with_labels >= without))
    return recipes


def _is_shown(component: str, paid: Sequence[tuple[Origin, float]], rng: random.Random) -> bool:
    shown = _draw([worth for origin, worth in paid if component not in origin.left_out], rng)
    hidden = _draw([worth for origin, worth in paid if component in origin.left_out], rng)
    return shown + IN_FAVOUR >= hidden


def _draw(worths: Sequence[float], rng: random.Random) -> float:
    """Draw from the posterior of a worth."""
    precision = len(worths) + 1
    return rng.gauss(sum(worths) / precision, precision**-0.5)
