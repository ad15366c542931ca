"""What speaks against it that nothing matters, whatever a model says.

The model knows no tables where few candidates are exceptions and all others exactly alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mipro.search._evidence import spread_of

if TYPE_CHECKING:
    from mipro.search._book import Table
    from mipro.search._space import Candidate

REFUTED, REFUTED_ORIGINAL, REFUTED_LEAST = 2.8, 2.5, 64
"""Standard errors above the mean of all at which a change is too good, and below it at which the original is
too bad, for nothing to matter; and the fewest scores, or all, that a change must have for that."""
OPPOSITE, OPPOSITE_LEAST, OPPOSITE_AMONG = -0.8, 16, 96
"""Correlation of two candidates' scores below which they are opposites, the fewest examples that both must
have met for that, and how many candidates, the most measured, are compared."""
CONSTANT = 1e-9
"""Sum of squares about the mean, in units of the variance of all scores, up to which a candidate's scores are
all the same, but for rounding."""


def is_refuted(table: Table, original: Candidate) -> bool:
    """Whether something matters, whatever a model says.

    A change, or the original, may stand out too far. Or two candidates are opposites, right where the other
    is wrong: they give one answer always. Prompts that make a model do that matter, however many of them are
    as good as the original on average.
    """
    found = _surprises(table)
    if found.get(original, 0.0) < -REFUTED_ORIGINAL:
        return True
    least = min(REFUTED_LEAST, table.values.shape[1])
    stands_out = any(
        z > REFUTED and table.counts[table.rows[candidate]] >= least
        for candidate, z in found.items()
        if candidate != original
    )
    return stands_out or has_opposites(table)


def _surprises(table: Table) -> dict[Candidate, float]:
    """How far the mean of each candidate is above that of all scores, in standard errors."""
    known = table.values[~np.isnan(table.values)]
    if not known.size or not (spread := spread_of(known)):
        return {}
    errors = spread / np.sqrt(np.maximum(table.counts, 1.0))
    z = (table.sums / np.maximum(table.counts, 1.0) - known.mean()) / errors
    return dict(zip(table.rows, np.where(table.counts > 0, z, 0.0).tolist(), strict=True))


def has_opposites(table: Table) -> bool:
    """Whether the scores of some two candidates are nearly exact opposites."""
    most = np.argsort(-table.counts, kind="stable")[:OPPOSITE_AMONG]
    values = table.values[most[table.counts[most] >= OPPOSITE_LEAST]]
    known = ~np.isnan(values)
    if not known.any() or not (spread := spread_of(values[known])):
        return False
    scores, known = np.where(known, (values - values[known].mean()) / spread, 0.0), known.astype(float)
    # Over the examples that both candidates of a pair have met; `sums[i, j]` is that of the scores of `i`.
    both = np.maximum(known @ known.T, 1.0)
    sums = scores @ known.T
    squares = scores**2 @ known.T - sums**2 / both
    products = scores @ scores.T - sums * sums.T / both
    varied = np.minimum(squares, squares.T) > CONSTANT
    opposite = products < OPPOSITE * np.sqrt(np.maximum(squares * squares.T, 0.0))
    return bool((varied & opposite & (both >= OPPOSITE_LEAST)).any())
