"""Learning the variances from the run itself: slice sampling of their logarithms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mipro.search._model import Fit, Marginal, Scales

if TYPE_CHECKING:
    from collections.abc import Callable

    from mipro.search._book import Floats
    from mipro.search._design import Design
    from mipro.search._evidence import Evidence

MAIN, INTERACTION, REST, CHANGE = 0.2, 0.1, 0.12, 0.3
"""Prior medians of the standard deviations of effects on expected scores, in units of the scores' own."""
COMMON, PAIRED, ALIKE, NOISE = 0.4, 0.2, 0.2, 0.8
"""Prior medians of the standard deviations of single scores."""
EFFECT_SPREAD, LEVEL_SPREAD, SCORE_SPREAD = 0.7, 0.6, 0.5
"""Prior standard deviations of the logarithms."""
NULL_SHARE, NULL_LEVEL, NULL_SPREAD = 0.25, 0.03, 0.7
"""Prior probability that choices don't matter, and the common level of their effects then."""
ALIKE_SHARE, ALIKE_CHANGE, CHANGE_SPREAD = 0.6, 0.02, 0.5
"""Prior probability that changing at all does not matter, the effect of it then, and the spread of either."""
TAILS = 3.0
"""Degrees of freedom of the rest of a combination: most combinations are what their parts make them, a few
are something else (a prompt after which the model gives one answer whatever it is asked)."""
TAIL_RANGE = (0.05, 100.0)
"""Bounds of the factors on the variances of single rests."""
LOW, HIGH = math.log(1e-3), math.log(10.0)
"""Bounds of the logarithms; they keep the linear algebra well conditioned."""
ODDS_LEVELS = (-1.5, -0.5, 0.5)
"""Logarithms of the level at which effects matter, where that is weighed against that none does: from a
quarter of the prior medians to more than them."""
EFFECT_STEPS = 2
"""Steps in the level of all effects and in their proportions, for each in the scales of single scores."""
FITS_KEPT = 8
"""Points of a chain whose posteriors are kept: those of one step, which the next one begins at."""
NOISE_FLOOR = math.log(0.2)
"""Lower bound of that of the noise. Models that answer alike to like prompts leave hardly any noise in a
table, and its likelihood then rewards an exact account of every single score above everything else."""


class VariancePrior:
    """Prior on the logarithms of the standard deviations.

    The vector holds: the level common to all effects; effects of choices for each kind of variable,
    interaction, rest (relative to the level); change; common difficulty, paired effects for each kind,
    those alike, noise.
    All are independent normals, but for two mixtures: with probability `NULL_SHARE` no choice matters, and
    with `ALIKE_SHARE` it does not matter whether anything is changed at all.

    Args:
        kinds: Number of kinds of variables.
    """

    def __init__(self, kinds: int) -> None:
        medians = [1.0] + [MAIN] * kinds + [INTERACTION, REST, CHANGE]
        medians += [COMMON] + [PAIRED] * kinds + [ALIKE, NOISE]
        spreads = (
            [LEVEL_SPREAD]
            + [EFFECT_SPREAD] * (kinds + 2)
            + [2 * CHANGE_SPREAD]
            + [SCORE_SPREAD] * (kinds + 3)
        )
        self.effects = kinds + 4
        """How many of the leading entries concern effects on expected scores."""
        self.center: Floats = np.log(medians)
        self.spread: Floats = np.array(spreads)

    def log_density(self, logs: Floats) -> float:
        """Log prior density up to a constant; minus infinity out of bounds."""
        if (logs < LOW).any() or (logs > HIGH).any() or logs[-1] < NOISE_FLOOR:
            return -math.inf
        z = (logs - self.center) / self.spread
        z[0] = z[self.effects - 1] = 0.0
        normal = -0.5 * float((z**2).sum())
        level, change = float(logs[0]), float(logs[self.effects - 1])
        null = NULL_SHARE / NULL_SPREAD * math.exp(-0.5 * ((level - math.log(NULL_LEVEL)) / NULL_SPREAD) ** 2)
        some = (1 - NULL_SHARE) / LEVEL_SPREAD * math.exp(-0.5 * (level / LEVEL_SPREAD) ** 2)
        small, large = (
            share * math.exp(-0.5 * ((change - math.log(median)) / CHANGE_SPREAD) ** 2)
            for share, median in ((ALIKE_SHARE, ALIKE_CHANGE), (1 - ALIKE_SHARE, CHANGE))
        )
        return normal + math.log(null + some + 1e-300) + math.log(small + large + 1e-300)


class VarianceChain:
    """A Markov chain over the variances of one table.

    Args:
        design: Terms of the space.
        evidence: The condensed table.
        prior: Prior of the variances.
        logs: Where the chain starts.
        tails: Whether the rests have heavy tails (Student's t, `TAILS` degrees of freedom).
    """

    def __init__(
        self, design: Design, evidence: Evidence, prior: VariancePrior, logs: Floats, *, tails: bool
    ) -> None:
        self._design = design
        self._evidence = evidence
        self._prior = prior
        self._tails = tails
        self.logs = logs
        self.local: Floats = np.ones(len(evidence.candidates))
        self._marginal: tuple[bytes, Marginal] | None = None
        self._fits: dict[bytes, Fit] = {}

    def fit(self, logs: Floats | None = None) -> Fit:
        """Posterior of the effects at a point of the chain, the current one by default."""
        logs = self.logs if logs is None else logs
        point = logs.tobytes()
        fit = self._fits.get(point)
        if fit is None:
            if len(self._fits) == FITS_KEPT:
                del self._fits[next(iter(self._fits))]
            fit = self._fits[point] = self._fit(logs, self.local)
        return fit

    def odds(self) -> float:
        """Log of how much likelier the scores are where something matters than where nothing does.

        A Bayes factor, for the scales of single scores that the chain is at. Effects are in the proportions
        of the prior medians, the rests normal; it is one of `ODDS_LEVELS` that matters or the change.
        """
        effects = self._prior.effects

        def likelihood(level: float, change: float) -> float:
            logs = self._prior.center.copy()
            logs[effects:] = self.logs[effects:]
            logs[0], logs[effects - 1] = level, math.log(change)
            return self._fit(logs, None).log_likelihood

        nothing = math.log(NULL_LEVEL)
        some = [likelihood(level, ALIKE_CHANGE) for level in ODDS_LEVELS] + [likelihood(nothing, CHANGE)]
        return float(np.logaddexp.reduce(some)) - math.log(len(some)) - likelihood(nothing, ALIKE_CHANGE)

    def _fit(self, logs: Floats, local: Floats | None) -> Fit:
        scales = Scales.from_vector(logs, self._design.kinds)
        key = logs[self._prior.effects :].tobytes()
        if self._marginal is None or self._marginal[0] != key:
            self._marginal = (key, Marginal(self._evidence, scales))
        return Fit(self._design, self._evidence, scales, self._marginal[1], local)

    def loosen(self, rng: np.random.Generator) -> None:
        """Draw the factors on the rests' variances, given a draw of the rests (a step of Gibbs sampling)."""
        if self._tails:
            fit = self.fit()
            rest = fit.sample(rng, 1).rest[:, 0] / fit.scales.rest
            self.local = tail_factors(rng, len(rest), rest**2)
            self._fits.clear()

    def advance(self, rng: np.random.Generator) -> None:
        """Move on: a step in the scales of single scores, more of the cheap ones in those of effects."""
        direction = rng.normal(size=len(self.logs)) * self._prior.spread
        direction[: self._prior.effects] = 0.0
        self.logs = slice_step(self.logs, self._density, direction, rng)
        level = np.zeros(len(self.logs))
        level[0] = 3.0
        for _ in range(EFFECT_STEPS):
            self.logs = slice_step(self.logs, self._density, level, rng)
            direction = rng.normal(size=len(self.logs)) * self._prior.spread
            direction[self._prior.effects :] = 0.0
            if rng.random() < 0.5:  # noqa: PLR2004 - a fair coin: one coordinate or all
                direction[np.arange(len(direction)) != rng.integers(1, self._prior.effects)] = 0.0
            self.logs = slice_step(self.logs, self._density, direction, rng)

        self.loosen(rng)

    def _density(self, logs: Floats) -> float:
        prior = self._prior.log_density(logs)
        return prior if math.isinf(prior) else prior + self.fit(logs).log_likelihood


def tail_factors(rng: np.random.Generator, count: int, squares: Floats | None = None) -> Floats:
    """Draw factors on variances that make normals Student's t, `[count]`.

    Args:
        rng: Source of randomness, advanced in place.
        count: How many to draw.
        squares: Squares of the normals' values where they are known, in units of their common variance.
    """
    if squares is None:
        return np.clip(TAILS / rng.chisquare(TAILS, size=count), *TAIL_RANGE)
    return np.clip((TAILS + squares) / rng.chisquare(TAILS + 1.0, size=count), *TAIL_RANGE)


def slice_step(
    point: Floats, density: Callable[[Floats], float], direction: Floats, rng: np.random.Generator
) -> Floats:
    """One slice-sampling step along a direction.

    Args:
        point: Current point.
        density: Log density up to a constant.
        direction: Direction, its length half the width of the first bracket.
        rng: Source of randomness, advanced in place.

    Returns:
        The next point.

    References:
        Neal, 2003, "Slice Sampling"; Murray & Adams, 2010, "Slice sampling covariance hyperparameters of
        latent Gaussian models", arXiv:1006.0868.
    """
    level = density(point) + math.log(max(rng.random(), 1e-300))
    upper = rng.random()
    lower = upper - 1.0
    for _ in range(6):
        step = lower + (upper - lower) * rng.random()
        proposal = point + 2.0 * step * direction
        if density(proposal) > level:
            return proposal
        if step < 0:
            lower = step
        else:
            upper = step
    return point
