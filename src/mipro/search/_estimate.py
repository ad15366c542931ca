"""Plain estimates from known scores, for the searches that have no model of their own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mipro.search._base import Recommendation

if TYPE_CHECKING:
    from mipro.search._book import Floats, Table
    from mipro.search._space import Candidate

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


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


def describe(table: Table, candidate: Candidate) -> Recommendation:
    """Recommend a candidate with the normal interval of its mean and a paired comparison.

    No correction for having picked the best of many (winner's curse) is made: these are the numbers that
    the baselines' authors would report.

    Args:
        table: Known scores.
        candidate: The candidate chosen.

    Returns:
        The mean over known scores, its 95 % normal interval, and the probability, from the paired
        differences on the examples both have met, that it beats the program as it came.
    """
    scores = table.known(candidate)
    original = (0,) * len(candidate)
    mean, error = _mean_and_error(scores)
    if math.isnan(mean):
        return Recommendation(candidate, math.nan, (-math.inf, math.inf), 0.0)
    interval = (mean - Z95 * error, mean + Z95 * error)
    if candidate == original:
        return on_scale(Recommendation(candidate, mean, interval, 0.0), table)
    gain, gain_error = _mean_and_error(scores - table.known(original))
    if math.isnan(gain):
        p_better = 0.5
    elif gain_error == 0.0 or math.isinf(gain_error):
        p_better = 0.5 if gain == 0.0 or math.isinf(gain_error) else float(gain > 0.0)
    else:
        p_better = normal_cdf(gain / gain_error)
    return on_scale(Recommendation(candidate, mean, interval, p_better), table)


def _mean_and_error(scores: Floats) -> tuple[float, float]:
    known = scores[~np.isnan(scores)]
    if known.size == 0:
        return math.nan, math.inf
    if known.size == 1:
        return float(known[0]), math.inf
    return float(known.mean()), float(known.std(ddof=1) / math.sqrt(known.size))
