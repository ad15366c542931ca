"""Structured Bayesian search: a crossed random-effects model and top-two Thompson sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from mipro.search._base import Job, Recallable, Recommendation, Scores
from mipro.search._beliefs import neighbours
from mipro.search._design import Design, design_of
from mipro.search._draw import LIST_LIMIT
from mipro.search._estimate import Z95
from mipro.search._evidence import Evidence, condense
from mipro.search._hyper import VarianceChain, VariancePrior

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.search._beliefs import Beliefs
    from mipro.search._book import Book, Floats, Ints, Table
    from mipro.search._model import Effects, Fit
    from mipro.search._space import Candidate, Space

DRAWS = 48
"""Posterior draws for each decision."""
REGRET = 0.01
"""Stop when the best candidate is known up to this, in standard deviations of a score."""
MEMORY = 0.08
"""Weight of the newest decision in the running average of nothing mattering; twice that for the gain."""
NULL_BOUND = math.log(0.15)
"""Log of the standard deviation of all effects together, relative to the prior medians, that counts as
nothing mattering."""
NULL_LEAST, NULL_SUSPECTED = 0.35, 0.6
"""Share of the budget to spend, and running share of such levels, before that is looked into."""
NULL_CHAIN, NULL_SURE = 40, 0.85
"""Draws of the variances that look into it, and the share of them that must agree to stop."""
ORIGINAL_LEAST = 64
"""Examples that the original must have met, if another candidate has met so many, before nothing matters."""
CONVINCED, WORTHWHILE = 0.6, 0.04
"""Least probability of being better, and least expected gain in standard deviations of a score, at which
the original program is replaced."""
GROWTH = 0.25
"""How much more of a candidate is asked for, as a share of what it has met."""
CONFIRMING = 0.25
"""Share of decisions that measure the leader, whoever the challenger is."""
LEARNERS = 96
"""Candidates whose scores the variances are learned from, when there are more."""
LEARN_EVERY = 4
"""Decisions between steps of learning the variances, when there are more candidates than that."""
MIXTURE = 12
"""Settings of the variances that a recommendation averages over."""
INFLATION = 1.15
"""Factor on standard deviations that makes up for what the model leaves out (scores that are not normal,
few settings of the variances); measured on the tables of benchmarks/search.py."""


class BayesSearch(Recallable):
    """Search by a model of the whole table of scores.

    Args:
        space: What to choose from.
        book: The rules' keeper.
        seed: Seed of all draws.
        block_size: Examples of a first look at a candidate.
        patience: Above 1 stops later, below 1 earlier.
    """

    def __init__(
        self, space: Space, book: Book, *, seed: int = 0, block_size: int = 8, patience: float = 1.0
    ) -> None:
        self._space = space
        self._book = book
        self._seed = seed
        self._block = block_size
        self._patience = patience
        self._design = design_of(space)
        self._prior = VariancePrior(self._design.kinds)
        self._logs = self._prior.center.copy()
        self._opening: list[Candidate] = []
        self._regret = 1.0
        self._null = 0.0
        self._nothing_matters = False
        self._stopped_at: tuple[int, ...] | None = None

    def ask(self) -> list[Job]:
        """See `Search.ask`."""
        self._book.advance()
        if self._book.left <= 0 or self._stopped_at == self._space.sizes:
            return []
        if self._nothing_matters:
            # The space has grown since: new choices may matter.
            self._nothing_matters, self._regret = False, 1.0
        decision = self._book.next_decision
        rng = np.random.default_rng([self._seed, decision])
        if self._design.sizes != self._space.sizes:
            # The space has grown: what is known of the old choices is no reason to stop.
            self._design, self._regret = design_of(self._space), 1.0
        if decision == 0:
            self._opening = self._covering(rng)
            return self._measure(self._space.original, "original")
        while self._opening:
            candidate = self._opening.pop(0)
            if len(self._book.free(candidate)):
                return self._measure(candidate, "exploring")
        data = _data(self._book.table, self._design)
        if data is None:
            return self._measure_any(rng)
        return self._decide(data, rng)

    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """See `Search.tell`."""
        self._book.tell(jobs, scores)

    def state(self) -> Any:
        """See `Recallable.state`."""
        return {
            "logs": self._logs.tolist(),
            "opening": self._opening,
            "regret": self._regret,
            "null": self._null,
            "nothing_matters": self._nothing_matters,
            "stopped_at": self._stopped_at,
        }

    def recall(self, jobs: Sequence[Job], state: Any) -> None:
        """See `Recallable.recall`."""
        self._book.advance()
        self._book.record(list(jobs))
        if self._design.sizes != self._space.sizes:
            self._design = design_of(self._space)
        self._logs = np.array(state["logs"])
        self._opening = [tuple(candidate) for candidate in state["opening"]]
        self._regret, self._null = state["regret"], state["null"]
        self._nothing_matters = state["nothing_matters"]
        stopped_at = state["stopped_at"]
        self._stopped_at = None if stopped_at is None else tuple(stopped_at)

    def recommend(self) -> Recommendation:
        """Return the best posterior mean among the candidates met, averaged over the variances."""
        original = self._space.original
        design = design_of(self._space)
        data = _data(self._book.everything(), design)
        if data is None:
            return Recommendation(original, math.nan, (-math.inf, math.inf), 0.0)
        rng = np.random.default_rng([self._seed, self._book.next_decision, 1])
        sample = data
        if len(data.candidates) > LEARNERS:
            sample = _data(self._book.everything(), design, limit=LEARNERS) or data
        chain = VarianceChain(design, sample, self._prior, self._logs)
        fits = []
        for _ in range(MIXTURE):
            chain.advance(rng)
            point = VarianceChain(design, data, self._prior, chain.logs)
            fits.append(point.fit())
        return _recommend(fits, data, original, keep=self._nothing_matters)

    def beliefs(self) -> Beliefs:
        """Return the posterior mean of the leader with each choice in place of its own."""
        design = design_of(self._space)
        data = _data(self._book.everything(), design)
        if data is None:
            return tuple((math.nan,) * size for size in self._space.sizes)
        fit = VarianceChain(design, data, self._prior, self._logs).fit()
        return neighbours(fit, _tuple(data.candidates[int(np.argmax(_seen_means(fit)))]))

    def _decide(self, data: Evidence, rng: np.random.Generator) -> list[Job]:
        if len(data.candidates) <= LEARNERS or self._book.next_decision % LEARN_EVERY == 0:
            self._logs = self._learn(data, rng)
        fit = VarianceChain(self._design, data, self._prior, self._logs).fit()
        draws = fit.sample(rng, DRAWS)
        pool, seen = self._pool(data, fit.effects(), draws)
        means = _values(self._design, fit.effects(), pool, seen, None, 0.0)[:, 0]
        values = _values(self._design, draws, pool, seen, rng, fit.scales.rest)
        leader = int(np.argmax(means))
        regret = float(values.max(axis=0).mean() - means[leader])
        self._regret += 2 * MEMORY * (regret - self._regret)
        self._null += MEMORY * (float(self._prior.level(self._logs) < NULL_BOUND) - self._null)
        if self._nothing_to_gain(data, rng):
            if self._nothing_matters and self._original_is_behind():
                self._nothing_matters = False
                return self._measure(self._space.original, "confirming the original")
            return self._stop()
        winners = np.argmax(values, axis=0)
        others = winners[winners != leader]
        challenger = int(others[0]) if len(others) else leader
        pair = (leader, leader) if rng.random() < CONFIRMING else (leader, challenger)
        chosen = self._choose(pool, values, pair, fit.scales.noise)
        if chosen is None:
            return self._stop()
        if chosen == leader:
            reason = "confirming the leader"
        else:
            reason = "exploring" if seen[chosen] < 0 else "challenging the leader"
        return self._measure(_tuple(pool[chosen]), reason)

    def _learn(self, data: Evidence, rng: np.random.Generator) -> Floats:
        """Move the variances on."""
        chain = VarianceChain(self._design, self._sample(data), self._prior, self._logs)
        chain.advance(rng)
        return chain.logs

    def _sample(self, data: Evidence) -> Evidence:
        """Data to learn the variances from; of many candidates a sample is enough."""
        if len(data.candidates) <= LEARNERS:
            return data
        return _data(self._book.table, self._design, limit=LEARNERS) or data

    def _choose(self, pool: Ints, values: Floats, pair: tuple[int, int], noise: float) -> int | None:
        """Of leader and challenger, the one whose next block tells most about their difference."""
        leader, challenger = pair
        gap = values[leader] - values[challenger]
        best, most = None, -1.0
        for index in dict.fromkeys(pair):
            size = self._block_of(_tuple(pool[index]))
            if not size:
                continue
            spread = np.cov(values[index], gap)
            told = spread[0, 1] ** 2 / (spread[0, 0] + noise**2 / size) / size
            if told > most:
                best, most = index, told
        if best is not None:
            return best
        for index in np.argsort(-values[:, 0]):
            if self._block_of(_tuple(pool[index])):
                return int(index)
        return None

    def _nothing_to_gain(self, data: Evidence, rng: np.random.Generator) -> bool:
        """Whether the best is known, or nothing matters; the latter is confirmed by a long chain."""
        if self._regret < REGRET / self._patience:
            return True
        tried = self._book.spent >= NULL_LEAST * self._patience * self._book.budget
        if not tried or self._null < NULL_SUSPECTED:
            return False
        chain = VarianceChain(self._design, self._sample(data), self._prior, self._logs)
        votes = 0
        for _ in range(NULL_CHAIN):
            chain.advance(rng)
            votes += self._prior.level(chain.logs) < NULL_BOUND
        if votes >= NULL_SURE * NULL_CHAIN:
            self._nothing_matters = True
            return True
        # Not so: it takes a while until it is suspected again.
        self._null = 0.0
        return False

    def _original_is_behind(self) -> bool:
        """Whether the original has met too few examples to be kept as no worse than all others."""
        free = len(self._book.free(self._space.original))
        most = int(self._book.table.counts.max())
        return free > 0 and self._book.num_examples - free < min(most, ORIGINAL_LEAST)

    def _stop(self) -> list[Job]:
        self._stopped_at = self._space.sizes
        return []

    def _pool(self, data: Evidence, means: Effects, draws: Effects) -> tuple[Ints, Ints]:
        """Candidates worth comparing `[p, variables]` and their rows in the data, -1 for unseen."""
        sizes = self._space.sizes
        if self._space.size <= LIST_LIMIT:
            pool = np.stack(np.unravel_index(np.arange(self._space.size), sizes), axis=1)
            seen = np.full(len(pool), -1)
            seen[np.ravel_multi_index(tuple(data.candidates.T), sizes)] = np.arange(len(data.candidates))
            return pool, seen
        greedy = np.concatenate([_greedy(self._design, means), _greedy(self._design, draws)])
        rows = {_tuple(row) for row in data.candidates}
        fresh = np.array([row for row in np.unique(greedy, axis=0) if _tuple(row) not in rows], dtype=np.intp)
        pool = np.concatenate([data.candidates, fresh.reshape(-1, len(sizes))])
        seen = np.where(np.arange(len(pool)) < len(data.candidates), np.arange(len(pool)), -1)
        return pool, seen

    def _covering(self, rng: np.random.Generator) -> list[Candidate]:
        """Candidates in which every choice appears, each as seldom as possible."""
        count = max(self._space.sizes)
        columns = []
        for size in self._space.sizes:
            repeated = np.concatenate([rng.permutation(size) for _ in range(-(-count // size))])
            columns.append(repeated[:count])
        rows = dict.fromkeys(_tuple(row) for row in np.stack(columns, axis=1))
        rows.pop(self._space.original, None)
        return list(rows)

    def _block_of(self, candidate: Candidate) -> int:
        """How many examples the next block of a candidate holds; 0 when all are met."""
        free = len(self._book.free(candidate))
        met = self._book.num_examples - free
        return min(max(self._block, int(met * GROWTH)), self._book.left, free)

    def _measure(self, candidate: Candidate, reason: str) -> list[Job]:
        examples = self._book.free(candidate)[: self._block_of(candidate)]
        return self._book.record([Job(candidate, tuple(int(e) for e in examples), reason)])

    def _measure_any(self, rng: np.random.Generator) -> list[Job]:
        """Explore while nothing is known yet."""
        for _ in range(1000):
            candidate = tuple(int(rng.integers(size)) for size in self._space.sizes)
            if len(self._book.free(candidate)):
                return self._measure(candidate, "exploring")
        self._stopped_at = self._space.sizes
        return []


def _tuple(row: Ints) -> Candidate:
    return tuple(int(choice) for choice in row)


def _data(table: Table, design: Design, limit: int = 320) -> Evidence | None:
    """Condense a table; of more than `limit` candidates, those that matter and a sample of the rest."""
    counts = table.counts
    rows = np.flatnonzero(counts)
    if not len(rows):
        return None
    if len(rows) > limit:
        means = table.sums[rows] / counts[rows]
        # The most measured and the best first (a mean of few scores is shrunk), then evenly from the rest.
        shrunk = means.mean() + (means - means.mean()) * counts[rows] / (counts[rows] + 8.0)
        deep = np.argsort(-counts[rows], kind="stable")[: limit // 3]
        good = np.argsort(-shrunk, kind="stable")[: limit // 3]
        chosen = set(deep.tolist()) | set(good.tolist()) | {0}
        rest = [row for row in range(len(rows)) if row not in chosen]
        step = max(1, len(rest) // max(1, limit - len(chosen)))
        chosen.update(rest[::step][: limit - len(chosen)])
        rows = rows[sorted(chosen)]
    everyone = list(table.rows)
    candidates = np.array([everyone[row] for row in rows], dtype=np.intp)
    return condense(design, candidates, table.values[rows])


def _values(
    design: Design,
    effects: Effects,
    pool: Ints,
    seen: Ints,
    rng: np.random.Generator | None,
    rest: float,
) -> Floats:
    """Expected scores of a pool `[p, s]`; what is particular to unseen candidates is drawn afresh."""
    values = effects.additive(design, pool)
    old = seen >= 0
    values[old] += effects.rest[seen[old]]
    if rng is not None:
        values[~old] += rng.normal(scale=rest, size=values[~old].shape)
    return values


def _greedy(design: Design, draws: Effects) -> Ints:
    """The best candidate of each draw, predictor by predictor."""
    count = draws.mean.shape[1]
    best = np.zeros((count, len(design.mains)), dtype=np.intp)
    changes = draws.terms[len(design.mains) + len(design.interactions) :]
    mains = [
        main + change[np.minimum(np.arange(len(main)), 1)]
        for main, change in zip(draws.terms, changes, strict=False)
    ]
    for index, term in enumerate(design.mains):
        best[:, term.variables[0]] = np.argmax(mains[index], axis=0)
    for index, term in enumerate(design.interactions, start=len(design.mains)):
        joint = draws.terms[index].copy()
        choices = np.stack(np.unravel_index(np.arange(term.count), term.sizes))
        for position, variable in enumerate(term.variables):
            joint += mains[variable][choices[position]]
        winners = choices[:, np.argmax(joint, axis=0)]
        for position, variable in enumerate(term.variables):
            best[:, variable] = winners[position]
    return best


def _recommend(fits: list[Fit], data: Evidence, original: Candidate, *, keep: bool) -> Recommendation:
    means = np.array([_seen_means(fit) for fit in fits])
    best = int(np.argmax(means.mean(axis=0)))
    is_original = (data.candidates == np.array(original)).all(axis=1)
    base = int(np.argmax(is_original)) if is_original.any() else best
    covariances = [fit.covariance(np.array([best, base])) for fit in fits]
    gaps = [
        (mean[best] - mean[base]) / INFLATION / math.sqrt(max(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], 1e-18))
        for mean, cov in zip(means, covariances, strict=True)
    ]
    p_better = float(np.mean(ndtr(gaps))) if best != base else 0.0
    gain = float((means[:, best] - means[:, base]).mean())
    if keep or p_better < CONVINCED or gain < WORTHWHILE:
        best, p_better, which = base, 0.0, 1
    else:
        which = 0
    mean = float(means[:, best].mean())
    variance = float(np.mean([cov[which, which] for cov in covariances]) + means[:, best].var())
    half = Z95 * INFLATION * math.sqrt(variance)
    low, middle, high = (data.center + data.scale * x for x in (mean - half, mean, mean + half))
    return Recommendation(_tuple(data.candidates[best]), middle, (low, high), p_better)


def _seen_means(fit: Fit) -> Floats:
    effects = fit.effects()
    candidates = fit.evidence.candidates
    return (effects.additive(fit.design, candidates) + effects.rest)[:, 0]
