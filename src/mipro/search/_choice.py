"""The recommendation: the best posterior mean of the candidates met, and what is known of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mipro.search._base import Recommendation
from mipro.search._estimate import Z95, normal_cdf
from mipro.search._hyper import NULL_SHARE
from mipro.search._space import candidate_of
from mipro.search._stopping import NULL_ODDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.search._evidence import Evidence
    from mipro.search._model import Fit
    from mipro.search._space import Candidate

PRIOR_ODDS = math.log((1 - NULL_SHARE) / NULL_SHARE)
"""Log odds that something matters before any score."""
WORTHWHILE = 0.01
"""Expected gain, in standard deviations of a score, below which the original is kept where nothing seems to
matter, however little was measured."""
LIKELY = 0.35
"""Probability of being better from which a change is recommended, once so much was measured that nothing can
seem to matter for no other reason. Before, the best guess is taken. Less than one half, since where nothing
matters a change does no harm to the score; chosen on the tables of benchmarks/search.py."""
INFLATION = 1.05
"""Factor on standard deviations that makes up for what the model leaves out (scores that are not normal,
few settings of the variances); measured on those tables."""


def choose(
    fits: Sequence[Fit],
    data: Evidence,
    original: Candidate,
    odds: float,
    *,
    nothing_matters: bool,
    is_evidence_enough: bool,
) -> Recommendation:
    """Return the best posterior mean, averaged over settings of the variances, or the original.

    Args:
        fits: The posterior for each of them.
        data: The scores.
        original: The program as it came.
        odds: Log odds that something matters, whatever was believed before; see `VarianceChain.odds`.
        nothing_matters: Whether the search has ended since nothing seems to.
        is_evidence_enough: Whether so much was measured that a change must be likely to be better.
    """
    means = np.array([fit.means() for fit in fits])
    best = int(np.argmax(means.mean(axis=0)))
    is_original = (data.candidates == np.array(original)).all(axis=1)
    base = int(np.argmax(is_original)) if is_original.any() else best
    covariances = [fit.covariance(np.array([best, base])) for fit in fits]
    gaps = [
        (mean[best] - mean[base]) / INFLATION / math.sqrt(max(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], 1e-18))
        for mean, cov in zip(means, covariances, strict=True)
    ]
    # Where nothing matters, nothing is better.
    matters = _probability(odds + PRIOR_ODDS)
    p_better = matters * sum(map(normal_cdf, gaps)) / len(gaps) if best != base else 0.0
    least_gain = WORTHWHILE if odds < NULL_ODDS else 0.0
    is_likely = p_better >= LIKELY or not is_evidence_enough
    which = 0
    if not is_original.any():
        # All its scores are missing: nothing speaks for it, and nothing can be said of the difference.
        p_better = 0.5
    elif nothing_matters or not is_likely or means[:, best].mean() - means[:, base].mean() < least_gain:
        best, p_better, which = base, 0.0, 1
    mean = float(means[:, best].mean())
    variance = float(np.mean([cov[which, which] for cov in covariances]) + means[:, best].var())
    half = Z95 * INFLATION * math.sqrt(variance)
    low, middle, high = (data.center + data.scale * x for x in (mean - half, mean, mean + half))
    return Recommendation(candidate_of(data.candidates[best]), middle, (low, high), p_better)


def _probability(log_odds: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * log_odds)
