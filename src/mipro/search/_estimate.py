"""Plain estimates from known scores, for the searches that have no model of their own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mipro.search._base import Recommendation

if TYPE_CHECKING:
    from collections.abc import Collection

    from mipro.search._book import Floats, Table
    from mipro.search._space import Candidate

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

NEARLY_ALL = 0.9
"""Share of the most examples that any candidate is known on from which another is compared with it: missing
scores make candidates that met the same examples differ by a few."""


def normal_cdf(z: float) -> float:
    """Probability that a standard normal is below `z`."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def mean_known(scores: Floats) -> float:
    """Mean of the known (not NaN) scores; NaN when there is none."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else math.nan


def on_scale(found: Recommendation, table: Table) -> Recommendation:
    """Return a recommendation that expects nothing below 0 or above 1 where no score has been.

    A mean of scores between 0 and 1 is between them too, which neither a normal interval nor a sum of
    effects knows. Where a score is outside, the metric has another scale and nothing is changed.
    """
    scores = table.values
    known = scores[~np.isnan(scores)]
    if not known.size or known.min() < 0.0 or known.max() > 1.0:
        return found
    mean, low, high = (min(max(x, 0.0), 1.0) for x in (found.mean, *found.interval))
    return replace(found, mean=mean, interval=(low, high))


def best_of(table: Table, candidates: Collection[Candidate], *, otherwise: Candidate) -> Candidate:
    """Return the best mean among the candidates known on the most examples, the first one met of equals.

    A mean of few scores, of an evaluation that is under way or was cut by the budget, may be high by luck.

    Args:
        table: Known scores.
        candidates: Those to choose from.
        otherwise: Returned where no score of theirs is known.
    """
    counts = {c: table.counts[row] for c, row in table.rows.items() if c in candidates and table.counts[row]}
    most = max(counts.values(), default=0.0)
    deep = [candidate for candidate, count in counts.items() if count >= NEARLY_ALL * most]
    return max(deep, key=lambda candidate: mean_known(table.known(candidate)), default=otherwise)


def describe(table: Table, candidate: Candidate) -> Recommendation:
    """Recommend a candidate with the normal interval of its mean and a paired comparison.

    No correction for having picked the best of many (winner's curse) is made: these are the numbers that
    the baselines' authors would report. But few scores that are all the same are no certainty: to those that
    an interval or a probability is made of, two of the lowest and two of the highest possible are added.

    Args:
        table: Known scores.
        candidate: The candidate chosen.

    Returns:
        The mean over known scores, its 95 % normal interval, and the probability, from the paired
        differences on the examples both have met, that it beats the program as it came.

    References:
        Agresti & Coull, 1998, "Approximate Is Better than 'Exact' for Interval Estimation of Binomial
        Proportions".
    """
    scores = table.known(candidate)
    original = (0,) * len(candidate)
    mean = mean_known(scores)
    if math.isnan(mean):
        return Recommendation(candidate, math.nan, (-math.inf, math.inf), 0.0)
    center, error = _center_and_error(scores, *_bounds(table))
    interval = (min(mean, center - Z95 * error), max(mean, center + Z95 * error))
    if candidate == original:
        return on_scale(Recommendation(candidate, mean, interval, 0.0), table)
    gains = scores - table.known(original)
    most = float(np.nanmax(np.abs(gains))) if not np.isnan(gains).all() else 0.0
    gain, gain_error = _center_and_error(gains, -most, most)
    p_better = normal_cdf(gain / gain_error) if gain_error else 0.5
    return on_scale(Recommendation(candidate, mean, interval, p_better), table)


def _bounds(table: Table) -> tuple[float, float]:
    """Return the lowest and the highest score known, or 0 and 1 where one between them is all there is."""
    low, high = float(np.nanmin(table.values)), float(np.nanmax(table.values))
    return (0.0, 1.0) if low == high and 0.0 <= low <= 1.0 else (low, high)


def _center_and_error(scores: Floats, low: float, high: float) -> tuple[float, float]:
    known = scores[~np.isnan(scores)]
    if known.size < 2:  # noqa: PLR2004 - one alone tells nothing of the others
        return 0.0, math.inf
    padded = np.concatenate([known, [low, low, high, high]])
    return float(padded.mean()), float(padded.std() / math.sqrt(padded.size))
