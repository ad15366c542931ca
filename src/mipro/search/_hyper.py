"""Learning the variances from the run itself: slice sampling of their logarithms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.search._book import Floats

MAIN, INTERACTION, REST = 0.15, 0.08, 0.1
"""Prior medians of the standard deviations of effects on expected scores, in units of the scores' own."""
COMMON, PAIRED, NOISE = 0.4, 0.2, 0.8
"""Prior medians of the standard deviations of single scores."""
EFFECT_SPREAD, SCORE_SPREAD = 1.0, 0.5
"""Prior standard deviations of the logarithms."""
FLOOR = math.log(1e-3)
"""Smaller than any effect that matters; keeps the linear algebra well conditioned."""


class VariancePrior:
    """Independent normal priors on the log standard deviations.

    Args:
        kinds: Number of kinds of variables.
    """

    def __init__(self, kinds: int) -> None:
        medians = [MAIN] * kinds + [INTERACTION, REST, COMMON] + [PAIRED] * kinds + [NOISE]
        self.center: Floats = np.log(medians)
        self.spread: Floats = np.array([EFFECT_SPREAD] * (kinds + 2) + [SCORE_SPREAD] * (kinds + 2))
        self._floor = np.concatenate([np.full(2 * kinds + 3, FLOOR), [math.log(0.02)]])

    def log_density(self, logs: Floats) -> float:
        """Log prior density up to a constant; minus infinity out of bounds."""
        if (logs < self._floor).any() or (logs > math.log(10.0)).any():
            return -math.inf
        return -0.5 * float((((logs - self.center) / self.spread) ** 2).sum())


def slice_step(
    logs: Floats,
    density: Callable[[Floats], float],
    spread: Floats,
    rng: np.random.Generator,
) -> Floats:
    """One slice-sampling step along a random direction.

    Args:
        logs: Current point.
        density: Log density up to a constant.
        spread: Typical width of each coordinate.
        rng: Source of randomness, advanced in place.

    Returns:
        The next point.

    References:
        Neal, 2003, "Slice Sampling"; Murray & Adams, 2010, "Slice sampling covariance hyperparameters of
        latent Gaussian models", arXiv:1006.0868.
    """
    direction = rng.normal(size=len(logs)) * spread
    if rng.random() < 0.5:  # noqa: PLR2004 - a fair coin: one coordinate or all
        chosen = rng.integers(len(logs))
        direction = np.where(np.arange(len(logs)) == chosen, direction, 0.0)
    level = density(logs) + math.log(max(rng.random(), 1e-300))
    upper = rng.random()
    lower = upper - 1.0
    for _ in range(6):
        step = lower + (upper - lower) * rng.random()
        proposal = logs + 2.0 * step * direction
        if density(proposal) > level:
            return proposal
        if step < 0:
            lower = step
        else:
            upper = step
    return logs
