"""The crossed random-effects model: likelihood of its variances, posterior of its effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mipro.search._evidence import shared_effects
from mipro.search._linalg import cholesky, congruent, diagonal, invert_lower, log_det, solve_both, solve_lower

if TYPE_CHECKING:
    from mipro.search._book import Floats, Ints
    from mipro.search._design import Design
    from mipro.search._evidence import Evidence

MEAN_VARIANCE = 4.0
"""Prior variance of the overall mean, in units of the scores' own variance."""


@dataclass(frozen=True, slots=True)
class Scales:
    """Standard deviations of all effects, in units of the scores' own."""

    mains: Floats
    """Effects of choices on the expected score, one for each kind of variable."""
    interaction: float
    """Effects of a predictor's joint choice beyond its mains."""
    rest: float
    """What is particular to a whole combination."""
    change: float
    """Effects of a variable's original choice, and of all its other choices in common."""
    common: float
    """Difficulty of an example, common to all candidates."""
    paired: Floats
    """Effects of choices on single examples, one for each kind of variable."""
    alike: float
    """Effects on single examples that a variable's original choice has, and all its others have in common."""
    noise: float
    """What remains in a single score."""

    @classmethod
    def from_vector(cls, logs: Floats, kinds: int) -> Scales:
        """Read them off a vector of logarithms `[2 * kinds + 7]`; see `VariancePrior`."""
        values = np.exp(logs)
        level = values[0]
        return cls(
            mains=level * values[1 : kinds + 1],
            interaction=float(level * values[kinds + 1]),
            rest=float(level * values[kinds + 2]),
            change=float(values[kinds + 3]),
            common=float(values[kinds + 4]),
            paired=values[kinds + 5 : 2 * kinds + 5],
            alike=float(values[2 * kinds + 5]),
            noise=float(values[2 * kinds + 6]),
        )


class Pool:
    """Any candidates, with or without a score, beside those of a table.

    Args:
        design: Terms of the space.
        evidence: The condensed table.
        candidates: `[p, variables]`.
        seen: Their rows in the evidence, -1 for those without a score, `[p]`.
        fresh: Factor on the variance of the rest of those without a score, `[p]`.
    """

    def __init__(
        self, design: Design, evidence: Evidence, candidates: Ints, seen: Ints, fresh: Floats
    ) -> None:
        self.seen = seen
        self.fresh = fresh
        ids = [term.ids(candidates) for term in design.terms]
        self.among = shared_effects(design, ids, ids)
        """Effects that two of them share, `[kinds + 2, p, p]`."""
        self.across = shared_effects(design, evidence.ids, ids)
        """Effects that each candidate of the table shares with them, `[kinds + 2, n, p]`."""


class Marginal:
    """What the scores say of the candidates' expected scores, example effects integrated out.

    Depends on the scales of single scores only, so that it serves many scales of effects.

    Args:
        evidence: The condensed table.
        scales: Standard deviations.
    """

    def __init__(self, evidence: Evidence, scales: Scales) -> None:
        precision, information, self.unexplained = _integrate_examples(evidence, scales)
        self.chol = cholesky(precision)
        self.upper = np.asfortranarray(self.chol.T)
        self.white = solve_lower(self.chol, information)


class Fit:
    """Posterior of a table's effects for given variances.

    With `P` and `b` the precision and the information that the scores hold on the candidates' expected
    scores (example effects integrated out), and `K` their prior covariance, everything follows from the
    Cholesky factors of `P = L L'` and `A = I + L'K L`.

    Args:
        design: Terms of the space.
        evidence: The condensed table.
        scales: Standard deviations.
        marginal: Example effects integrated out for these scales, if known already.
        local: Factor on the variance of each candidate's rest, `[n]`; ones where left out.
    """

    def __init__(
        self,
        design: Design,
        evidence: Evidence,
        scales: Scales,
        marginal: Marginal | None = None,
        local: Floats | None = None,
    ) -> None:
        self.design = design
        self.evidence = evidence
        self.scales = scales
        self._ids = evidence.ids
        self._variances = np.append(scales.mains, [scales.interaction, scales.change]) ** 2
        self._rests = scales.rest**2 * (np.ones(len(evidence.candidates)) if local is None else local)
        marginal = marginal or Marginal(evidence, scales)
        self.prior = self._prior_covariance()
        self._chol = marginal.chol
        self._upper = marginal.upper
        inner = congruent(self.prior, self._chol)
        diagonal(inner)[:] += 1.0
        self._inner = cholesky(inner)
        self._white = marginal.white
        solved = solve_lower(self._inner, self._white)
        explained = float(self._white @ self._white - solved @ solved)
        self.log_likelihood = -0.5 * (marginal.unexplained + log_det(self._inner) - explained)

    def term_variance(self, index: int) -> float:
        """Prior variance of the effects of one term."""
        term = self.design.terms[index]
        return float(self._variances[term.kind])

    def effects(self) -> Effects:
        """Posterior means of all effects."""
        return self._effects_of(self._weights(self._white[:, None]), None)

    def means(self) -> Floats:
        """Posterior means of the expected scores of the candidates seen, `[n]`."""
        effects = self.effects()
        return (effects.additive(self.design, self.evidence.candidates) + effects.rest)[:, 0]

    def sample(self, rng: np.random.Generator, count: int) -> Effects:
        """Draw effects from the posterior (Matheron's rule: a prior draw, corrected by the data)."""
        n = len(self.evidence.candidates)
        mean = rng.normal(scale=MEAN_VARIANCE**0.5, size=(1, count))
        mains = [
            rng.normal(scale=self.term_variance(index) ** 0.5, size=(term.count, count))
            for index, term in enumerate(self.design.terms)
        ]
        rest = rng.normal(size=(n, count)) * np.sqrt(self._rests)[:, None]
        theta = mean + rest
        for ids, draws in zip(self._ids, mains, strict=True):
            theta += draws[ids]
        noise = rng.normal(size=(n, count))
        white = self._white[:, None] - self._upper @ theta - noise
        return self._effects_of(self._weights(white), Effects(mean, mains, rest))

    def covariance(self, rows: Ints) -> Floats:
        """Posterior covariance of the expected scores of some seen candidates, `[r, r]`."""
        half = solve_lower(self._inner, self._upper @ self.prior[:, rows])
        return np.asarray(self.prior[np.ix_(rows, rows)] - half.T @ half)

    def joint(self, pool: Pool) -> Floats:
        """Posterior covariance of the expected scores of any candidates, `[p, p]`."""
        among = _mix(self._variances, pool.among)
        across = _mix(self._variances, pool.across)
        among += MEAN_VARIANCE
        across += MEAN_VARIANCE
        old = np.flatnonzero(pool.seen >= 0)
        rests = self.scales.rest**2 * pool.fresh
        rests[old] = self._rests[pool.seen[old]]
        diagonal(among)[:] += rests
        across[pool.seen[old], old] += rests[old]
        half = solve_lower(self._inner, self._upper @ across)
        return np.asarray(among - half.T @ half)

    def _weights(self, white: Floats) -> Floats:
        """What the data pull at each candidate's expected score, `[n, s]`."""
        return self._chol @ solve_both(self._inner, white)

    def _effects_of(self, weights: Floats, start: Effects | None) -> Effects:
        count = weights.shape[1]
        mean = MEAN_VARIANCE * weights.sum(axis=0, keepdims=True)
        rest = self._rests[:, None] * weights
        terms = []
        for index, term in enumerate(self.design.terms):
            sums = np.zeros((term.count, count))
            np.add.at(sums, self._ids[index], weights)
            terms.append(self.term_variance(index) * sums)
        if start is None:
            return Effects(mean, terms, rest)
        summed = [a + b for a, b in zip(terms, start.terms, strict=True)]
        return Effects(mean + start.mean, summed, rest + start.rest)

    def _prior_covariance(self) -> Floats:
        prior = _mix(self._variances, self.evidence.shared)
        prior += MEAN_VARIANCE
        diagonal(prior)[:] += self._rests
        return prior


@dataclass(frozen=True, slots=True)
class Effects:
    """Values of all effects: posterior means (one column) or draws (several)."""

    mean: Floats
    """Overall mean, `[1, s]`, in scaled units."""
    terms: list[Floats]
    """Effects of each term, `[count, s]`."""
    rest: Floats
    """What is particular to each seen candidate, `[n, s]`."""

    def additive(self, design: Design, candidates: Ints) -> Floats:
        """Expected scores without the rest, `[candidates, s]`, in scaled units."""
        total = np.repeat(self.mean, len(candidates), axis=0)
        for term, values in zip(design.terms, self.terms, strict=True):
            total += values[term.ids(candidates)]
        return total


def _integrate_examples(evidence: Evidence, scales: Scales) -> tuple[Floats, Floats, float]:
    """Integrate the example effects out.

    Returns:
        Precision `[n, n]` and information `[n]` on the expected scores, and -2 times the log likelihood
        that does not depend on them.
    """
    count = len(evidence.candidates)
    covariance = _mix(np.append(scales.paired, [0.0, scales.alike]) ** 2, evidence.shared)
    covariance += scales.common**2
    diagonal(covariance)[:] += scales.noise**2
    precision, information, unexplained = np.zeros((count, count)), np.zeros(count), 0.0
    for ladder in evidence.ladders:
        factor = cholesky(covariance[ladder.cells])
        whitening = invert_lower(factor)
        weighted = np.sqrt(ladder.met)[:, None] * whitening
        precision[ladder.cells] += weighted.T @ weighted
        pulls = np.empty(len(ladder.rows))
        for rung in ladder.rungs:
            part = whitening[rung.start : rung.stop, : rung.stop]
            pulls[rung.start : rung.stop] = part @ rung.sums
            unexplained += float(np.vdot(part @ rung.scatter, part))
        information[ladder.rows] += whitening.T @ pulls
        unexplained += 2.0 * float(ladder.met @ np.log(factor.diagonal()))
    # Only missing scores that no group could take leave a candidate without any.
    held = diagonal(precision)
    held[:] = np.where(held > 0.0, held, 1e-9)
    return precision, information, unexplained


def _mix(variances: Floats, shared: Floats) -> Floats:
    """Sum of `variances[k] * shared[k]`, `[l, r]`."""
    return np.asarray((variances @ shared.reshape(len(variances), -1)).reshape(shared.shape[1:]))
