"""The crossed random-effects model: likelihood of its variances, posterior of its effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

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
    noise: float
    """What remains in a single score."""

    @classmethod
    def from_vector(cls, logs: Floats, kinds: int) -> Scales:
        """Read them off a vector of logarithms `[2 * kinds + 6]`; see `VariancePrior`."""
        values = np.exp(logs)
        level = values[0]
        return cls(
            mains=level * values[1 : kinds + 1],
            interaction=float(level * values[kinds + 1]),
            rest=float(level * values[kinds + 2]),
            change=float(level * values[kinds + 3]),
            common=float(values[kinds + 4]),
            paired=values[kinds + 5 : 2 * kinds + 5],
            noise=float(values[2 * kinds + 5]),
        )


class Marginal:
    """What the scores say of the candidates' expected scores, example effects integrated out.

    Depends on the scales of single scores only, so that it serves many scales of effects.

    Args:
        evidence: The condensed table.
        scales: Standard deviations.
    """

    def __init__(self, evidence: Evidence, scales: Scales) -> None:
        precision, information, self.unexplained = _integrate_examples(evidence, scales)
        self.chol = cholesky(precision, lower=True, check_finite=False)
        self.white = solve_triangular(self.chol, information, lower=True, check_finite=False)


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
    """

    def __init__(
        self, design: Design, evidence: Evidence, scales: Scales, marginal: Marginal | None = None
    ) -> None:
        self.design = design
        self.evidence = evidence
        self.scales = scales
        marginal = marginal or Marginal(evidence, scales)
        self._ids = evidence.ids
        self._variances = np.append(scales.mains, [scales.interaction, scales.change]) ** 2
        self.prior = self._prior_covariance()
        self._chol = marginal.chol
        inner = self._chol.T @ self.prior @ self._chol
        inner[np.diag_indices_from(inner)] += 1.0
        self._inner = cholesky(inner, lower=True, check_finite=False)
        self._white = marginal.white
        solved = solve_triangular(self._inner, self._white, lower=True, check_finite=False)
        log_det = 2.0 * float(np.log(np.diag(self._inner)).sum())
        explained = float(self._white @ self._white - solved @ solved)
        self.log_likelihood = -0.5 * (marginal.unexplained + log_det - explained)
        self.weights = self._chol @ cho_solve((self._inner, True), self._white, check_finite=False)

    def term_variance(self, index: int) -> float:
        """Prior variance of the effects of one term."""
        term = self.design.terms[index]
        return float(self._variances[term.kind])

    def effects(self) -> Effects:
        """Posterior means of all effects."""
        return self._effects_of(self.weights[:, None], None)

    def sample(self, rng: np.random.Generator, count: int) -> Effects:
        """Draw effects from the posterior (Matheron's rule: a prior draw, corrected by the data)."""
        n = len(self.evidence.candidates)
        mean = rng.normal(scale=MEAN_VARIANCE**0.5, size=(1, count))
        mains = [
            rng.normal(scale=self.term_variance(index) ** 0.5, size=(term.count, count))
            for index, term in enumerate(self.design.terms)
        ]
        rest = rng.normal(scale=self.scales.rest, size=(n, count))
        theta = mean + rest
        for ids, draws in zip(self._ids, mains, strict=True):
            theta += draws[ids]
        noise = rng.normal(size=(n, count))
        white = self._white[:, None] - self._chol.T @ theta - noise
        weights = self._chol @ cho_solve((self._inner, True), white, check_finite=False)
        return self._effects_of(weights, Effects(mean, mains, rest))

    def covariance(self, rows: Ints) -> Floats:
        """Posterior covariance of the expected scores of some seen candidates, `[r, r]`."""
        half = solve_triangular(
            self._inner, self._chol.T @ self.prior[:, rows], lower=True, check_finite=False
        )
        return np.asarray(self.prior[np.ix_(rows, rows)] - half.T @ half)

    def _effects_of(self, weights: Floats, start: Effects | None) -> Effects:
        count = weights.shape[1]
        mean = MEAN_VARIANCE * weights.sum(axis=0, keepdims=True)
        rest = self.scales.rest**2 * weights
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
        prior = np.tensordot(self._variances, self.evidence.shared, axes=1) + MEAN_VARIANCE
        prior[np.diag_indices(len(prior))] += self.scales.rest**2
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
    noise = scales.noise**2
    by_kind = np.concatenate([[scales.common], scales.paired])
    loads = by_kind[evidence.column_kinds]
    k = len(loads)
    middle = loads[None, :, None] * evidence.grams * loads[None, None, :]
    middle[:, np.arange(k), np.arange(k)] += noise
    inverse = np.linalg.inv(middle)
    weighted = loads[None, :, None] * inverse * loads[None, None, :]
    log_dets = np.linalg.slogdet(middle)[1]
    counts = np.array([group.count for group in evidence.groups], dtype=float)
    sizes = np.array([len(group.rows) for group in evidence.groups], dtype=float)
    log_det = float((counts * (log_dets + (sizes - k) * np.log(noise))).sum())
    quadratic = (evidence.squares - float(np.einsum("gij,gij->", weighted, evidence.scatters))) / noise
    precision = np.diag(evidence.counts)
    information = np.zeros(len(evidence.counts))
    for group, inner in zip(evidence.groups, weighted, strict=True):
        rows = group.rows
        columns = evidence.columns[rows]
        shrunk = columns @ inner
        precision[np.ix_(rows, rows)] -= group.count * (shrunk @ columns.T)
        information[rows] += group.sums - shrunk @ (columns.T @ group.sums)
    return precision / noise, information / noise, log_det + quadratic
