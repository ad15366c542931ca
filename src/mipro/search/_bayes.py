"""Structured Bayesian search: a crossed random-effects model and the knowledge gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mipro.search._base import Job, Recallable, Recommendation, Scores
from mipro.search._batch import Batch
from mipro.search._beliefs import neighbours
from mipro.search._blas import one_thread
from mipro.search._design import Design, design_of
from mipro.search._draw import LIST_LIMIT
from mipro.search._estimate import Z95, normal_cdf, on_scale
from mipro.search._evidence import Evidence, condense
from mipro.search._gradient import Outlook
from mipro.search._hyper import NULL_SHARE, VarianceChain, VariancePrior, tail_factors
from mipro.search._model import Pool
from mipro.search._refute import is_refuted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.search._beliefs import Beliefs
    from mipro.search._book import Book, Floats, Ints, Table
    from mipro.search._model import Effects, Fit
    from mipro.search._space import Candidate, Space

OUTLOOKS = 3
"""Settings of the variances, of this decision and of those before it, that what a block is worth is averaged
over. By one alone, half of the decisions of some runs take everything for alike and measure what is worth
nothing."""
DRAWS = 48
"""Posterior draws for each decision."""
PACE, IN_FLIGHT = 0.03, 0.12
"""Least size of a decision, and most that all decisions under way should hold together, as shares of the
evaluations spent: each learns from so much more than the last, and there are some hundred decisions in a run
whatever its size."""
MOST_BLOCKS = 12
"""Most blocks of a decision, so that what it costs does not grow with the run."""
POOL = 96
"""Candidates whose next blocks are compared, when there are more."""
SHORTLIST = 16
"""Of those, what the later blocks of a decision are chosen from: the best for its first one. Planning a block
hardly ever makes one of the others the best; without the list four runs were the same to the last job."""
TAIL_BUDGET = 12
"""Evaluations for each candidate of the space from which the search looks for surprises: combinations that
are much better than their parts. With fewer it can't look at all."""
DIFFICULTY_LEFT = 0.3
"""Share of the variance of examples' common difficulty that counts as noise of a candidate's next block. Part
of it is known already from the other candidates that have met the examples."""
RECENT, NULL_RECENT = 8, 16
"""Decisions whose findings are averaged before the search stops, and before it stops since nothing seems to
matter: for a while that seems so in many runs with weak effects."""
WORTHLESS = 1e-9
"""Worth of an evaluation, in standard deviations of a score, that is lost in rounding."""
REGRET = 0.01
"""Stop when the best candidate is known up to this, in standard deviations of a score."""
NULL_LEAST, NULL_CHOICE, NULL_JOINT = 0.3, 35, 9
"""Share of the budget, and evaluations for each choice of the space and each joint choice of a predictor, to
spend before nothing may seem to matter. With fewer, effects worth having can't be told from none."""
NULL_ODDS = -1.25
"""Log odds that something matters below which nothing seems to. All these were chosen on the tables of
benchmarks/search.py."""
SOME_ODDS, SETTLED_ODDS = 1.0, 20.0
"""Log odds above which something does matter, and above which that is not weighed again."""
PRIOR_ODDS = math.log((1 - NULL_SHARE) / NULL_SHARE)
"""Log odds that something matters before any score."""
WORTHWHILE = 0.01
"""Expected gain, in standard deviations of a score, below which the original is kept where nothing seems to
matter, however little was measured."""
LIKELY = 0.35
"""Probability of being better from which a change is recommended, once so much was measured that nothing can
seem to matter for no other reason. Before, the best guess is taken. Less than one half, since where nothing
matters a change does no harm to the score; chosen on tables as those bounds were."""
CHANCE = 24
"""Examples that each choice which comes late is met on, where nothing seems to matter, before the search may
stop."""
ORIGINAL_SHARE = 4
"""How many times more examples than the original the leader may have met: what is reported is their
difference, however little it is worth to the choice."""
LEARNERS = 96
"""Candidates whose scores the variances are learned from, when there are more."""
MIXTURE = 12
"""Settings of the variances that a recommendation averages over."""
INFLATION = 1.05
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
        self._known_design = design_of(space)
        self._sizes = self._first_sizes = space.sizes
        self._newest = 0
        self._prior = VariancePrior(self._known_design.kinds)
        self._logs = self._prior.center.copy()
        self._earlier: list[Floats] = []
        self._recent: list[tuple[float, float]] = []
        self._nothing_matters = False
        self._stopped_at: tuple[int, ...] | None = None

    @one_thread()
    def ask(self) -> list[Job]:
        """See `Search.ask`."""
        self._book.advance()
        if self._book.left <= 0 or self._stopped_at == self._space.sizes:
            return []
        if self._nothing_matters:
            # The space has grown since: new choices may matter.
            self._nothing_matters, self._recent = False, []
        decision = self._book.next_decision
        rng = np.random.default_rng([self._seed, decision])
        if self._sizes != self._space.sizes:
            # The space has grown: what is known of the old choices is no reason to stop.
            self._sizes, self._recent, self._newest = self._space.sizes, [], decision
        if decision == 0:
            return self._open(rng)
        data = _data(self._book.table, self._design)
        return self._explore(rng) if data is None else self._decide(data, rng)

    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """See `Search.tell`."""
        self._book.tell(jobs, scores)

    def state(self) -> Any:
        """See `Recallable.state`."""
        return {
            "logs": self._logs.tolist(),
            "earlier": [logs.tolist() for logs in self._earlier],
            "recent": self._recent,
            "nothing_matters": self._nothing_matters,
            "stopped_at": self._stopped_at,
            "newest": self._newest,
        }

    def recall(self, jobs: Sequence[Job], state: Any) -> None:
        """See `Recallable.recall`."""
        self._book.advance()
        self._book.record(list(jobs))
        self._sizes = self._space.sizes
        self._logs = np.array(state["logs"])
        self._earlier = [np.array(logs) for logs in state["earlier"]]
        self._recent = [(regret, odds) for regret, odds in state["recent"]]
        self._nothing_matters = state["nothing_matters"]
        self._newest = state.get("newest", 0)  # not there in runs of before
        stopped_at = state["stopped_at"]
        self._stopped_at = None if stopped_at is None else tuple(stopped_at)

    @one_thread()
    def recommend(self) -> Recommendation:
        """Return the best posterior mean among the candidates met, averaged over the variances."""
        original = self._space.original
        table = self._book.everything()
        data = _data(table, self._design)
        if data is None:
            return Recommendation(original, math.nan, (-math.inf, math.inf), 0.0)
        rng = np.random.default_rng([self._seed, self._book.next_decision, 1])
        chain = self._chain(data, table)
        chain.loosen(rng)
        fits, odds = [], []
        for _ in range(MIXTURE):
            chain.advance(rng)
            chain.advance(rng)
            odds.append(chain.odds())
            fits.append(self._fit(chain, data, rng))
        mean_odds = math.inf if is_refuted(table, original) else float(np.mean(odds))
        least_gain = WORTHWHILE if mean_odds < NULL_ODDS else 0.0
        found = _recommend(
            fits,
            data,
            original,
            matters=_probability(mean_odds + PRIOR_ODDS),
            least_gain=math.inf if self._nothing_matters else least_gain,
            least_p=LIKELY if self._is_evidence_enough() else 0.0,
        )
        return on_scale(found, table)

    @one_thread()
    def beliefs(self) -> Beliefs:
        """Return the posterior mean of the leader with each choice in place of its own."""
        data = _data(self._book.everything(), self._design)
        if data is None:
            return tuple((math.nan,) * size for size in self._space.sizes)
        fit = VarianceChain(self._design, data, self._prior, self._logs, tails=False).fit()
        return neighbours(fit, _tuple(data.candidates[int(np.argmax(_seen_means(fit)))]))

    def _open(self, rng: np.random.Generator) -> list[Job]:
        """The original, then candidates in which every choice appears: nothing need be known for them."""
        batch = Batch(self._book, self._block)
        batch.add(self._space.original, "original")
        for candidate in self._covering(rng):
            batch.add(candidate, "exploring")
        return self._book.record(batch.jobs())

    def _explore(self, rng: np.random.Generator) -> list[Job]:
        """Meet some candidate while nothing is known yet."""
        for _ in range(1000):
            batch = Batch(self._book, self._block)
            batch.add(tuple(int(rng.integers(size)) for size in self._space.sizes), "exploring")
            if batch.cells:
                return self._book.record(batch.jobs())
        return self._stop()

    def _decide(self, data: Evidence, rng: np.random.Generator) -> list[Job]:
        chain = self._chain(data, self._book.table)
        chain.loosen(rng)
        chain.advance(rng)
        self._logs = chain.logs
        fit = self._fit(chain, data, rng)
        effects, draws = fit.effects(), fit.sample(rng, DRAWS)
        pool, seen = self._pool(data, effects, draws)
        fresh = tail_factors(rng, len(pool)) if self._tails else np.ones(len(pool))
        means = _values(self._design, effects, pool, seen)[:, 0]
        values = _values(self._design, draws, pool, seen)
        unseen = seen < 0
        spread = fit.scales.rest * np.sqrt(fresh[unseen])[:, None]
        values[unseen] += rng.normal(size=(unseen.sum(), DRAWS)) * spread
        regret = float(values.max(axis=0).mean() - means.max())
        odds = self._recent[-1][1] if self._recent else 0.0
        if odds <= SETTLED_ODDS:
            odds = chain.odds()
        if self._book.next_decision < self._newest + self._book.lookahead:
            # What is new was asked for, but is not known yet, however many decisions were made since.
            self._recent = []
        self._recent = [*self._recent, (regret, odds)][-NULL_RECENT:]
        if self._nothing_to_gain():
            return self._stop()
        if odds <= SOME_ODDS and (newcomers := self._newcomers(_tuple(pool[np.argmax(means)]))):
            return self._meet(newcomers)
        others = [self._fit_at(logs, data, rng) for logs in self._earlier]
        self._earlier = [self._logs, *self._earlier][: OUTLOOKS - 1]
        every = np.array([means, *(_values(self._design, f.effects(), pool, seen)[:, 0] for f in others)])
        fits = [fit, *others]
        means = every.mean(axis=0)
        keep = _promising(means, values)
        kept = Pool(self._design, data, pool[keep], seen[keep], fresh[keep])
        joint = np.array([f.joint(kept) for f in fits])
        outlook = Outlook(every[:, keep], joint, np.array([self._noise(f) for f in fits]))
        return self._measure(outlook, [_tuple(row) for row in pool[keep]], means[keep], seen[keep])

    def _newcomers(self, leader: Candidate) -> list[Candidate]:
        """Return candidates with the choices that the space has grown by, as long as these are little known.

        Where nothing seems to matter nothing seems worth measuring, and so it would never be found that one
        of them does.
        """
        # For each new choice the candidate that has met most: only more of one says more, since all meet the
        # same examples first.
        most = {
            (v, choice): (-1, (*leader[:v], choice, *leader[v + 1 :]))
            for v, (first, size) in enumerate(zip(self._first_sizes, self._space.sizes, strict=True))
            for choice in range(first, size)
        }
        if not most:
            return []
        for candidate in self._book.asked():
            for place in filter(most.__contains__, enumerate(candidate)):
                met = self._book.met(candidate)
                if met > most[place][0]:
                    most[place] = (met, candidate)
        enough = min(CHANCE, self._book.num_examples)
        return list(dict.fromkeys(candidate for met, candidate in most.values() if met < enough))

    def _meet(self, newcomers: list[Candidate]) -> list[Job]:
        """Take the next block of each, as far as one decision goes."""
        batch = Batch(self._book, self._block)
        for candidate in newcomers:
            if batch.cells < self._wanted:
                batch.add(candidate, "exploring")
        self._newest = self._book.next_decision
        return self._book.record(batch.jobs())

    @property
    def _wanted(self) -> int:
        """Evaluations that the next decision should hold."""
        return max(self._block, int(min(PACE, IN_FLIGHT / self._book.lookahead) * self._book.spent))

    def _measure(self, outlook: Outlook, pool: list[Candidate], means: Floats, seen: Ints) -> list[Job]:
        """Plan block after block, each where it is worth most given those under way and before it."""
        batch = Batch(self._book, self._block)
        wanted = self._wanted
        under_way = self._book.under_way()
        for place, candidate in enumerate(pool):
            if candidate in under_way:
                outlook.plan(place, under_way[candidate])
        leader = int(np.argmax(means))
        chosen = leader if seen[leader] < 0 and pool[leader] not in under_way else None
        if self._book.met(pool[leader]) > ORIGINAL_SHARE * self._book.met(self._space.original):
            batch.add(self._space.original, "confirming the original")
        blocks = np.array([batch.block(candidate) for candidate in pool])
        free = np.array([batch.free(candidate) for candidate in pool])
        listed = np.full(len(pool), True)
        for _ in range(MOST_BLOCKS):
            if batch.cells >= wanted or not blocks.any():
                break
            if chosen is None or not blocks[chosen]:
                worth = outlook.gradient(np.where(listed, blocks, 0), free)
                # Where nothing seems worth anything: the best that can be asked.
                merit = worth if worth.max() > WORTHLESS else means
                chosen = int(np.argmax(np.where(blocks > 0, merit, -np.inf)))
                listed[np.argsort(-worth, kind="stable")[SHORTLIST:]] = False
            outlook.plan(chosen, int(blocks[chosen]))
            reason = "confirming the leader" if chosen == leader else "challenging the leader"
            batch.add(pool[chosen], "exploring" if seen[chosen] < 0 else reason)
            blocks[chosen], free[chosen] = batch.block(pool[chosen]), batch.free(pool[chosen])
            blocks = np.minimum(blocks, self._book.left - batch.cells)
            chosen = None
        return self._book.record(batch.jobs()) if batch.cells else self._stop()

    @property
    def _design(self) -> Design:
        """The terms of the space as it is now."""
        if self._known_design.sizes != self._space.sizes:
            self._known_design = design_of(self._space)
        return self._known_design

    @property
    def _tails(self) -> bool:
        return self._book.budget >= TAIL_BUDGET * self._space.size

    def _noise(self, fit: Fit) -> float:
        """Variance of one more score of a candidate about its expected score."""
        scales = fit.scales
        paired = sum(scales.paired[term.kind] ** 2 for term in self._design.mains)
        paired += len(self._design.mains) * scales.alike**2
        return float(scales.noise**2 + paired + DIFFICULTY_LEFT * scales.common**2)

    def _chain(self, data: Evidence, table: Table) -> VarianceChain:
        """A chain over the variances, at where they are; of many candidates it learns from a sample."""
        if len(data.candidates) > LEARNERS:
            data = _data(table, self._design, limit=LEARNERS) or data
        return VarianceChain(self._design, data, self._prior, self._logs, tails=self._tails)

    def _fit(self, chain: VarianceChain, data: Evidence, rng: np.random.Generator) -> Fit:
        """Posterior of all the data at the point that a chain has come to."""
        return self._fit_at(chain.logs, data, rng) if len(data.candidates) > LEARNERS else chain.fit()

    def _fit_at(self, logs: Floats, data: Evidence, rng: np.random.Generator) -> Fit:
        """Posterior of all the data for given variances."""
        chain = VarianceChain(self._design, data, self._prior, logs, tails=self._tails)
        chain.loosen(rng)
        return chain.fit()

    def _nothing_to_gain(self) -> bool:
        """Whether the best is known, or nothing matters."""
        if len(self._recent) < RECENT:
            return False
        regret, odds = (float(mean) for mean in np.mean(self._recent[-RECENT:], axis=0))
        if odds > SOME_ODDS:
            return regret < REGRET / self._patience
        nothing_seems_to = len(self._recent) == NULL_RECENT and np.mean(self._recent, axis=0)[1] < NULL_ODDS
        if nothing_seems_to and self._is_evidence_enough():
            self._nothing_matters = not is_refuted(self._book.table, self._space.original)
        return self._nothing_matters

    def _is_evidence_enough(self) -> bool:
        """Whether so much was measured that nothing can seem to matter for no other reason."""
        # A single predictor has none beside the whole candidate.
        joint = sum(term.count for term in self._design.interactions) or self._space.size
        of_space = max(NULL_CHOICE * sum(self._space.sizes), NULL_JOINT * joint)
        return self._book.spent >= max(NULL_LEAST * self._book.budget, of_space) * self._patience

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


def _tuple(row: Ints) -> Candidate:
    return tuple(int(choice) for choice in row)


def _data(table: Table, design: Design, limit: int = 192) -> Evidence | None:
    """Condense a table; of more than `limit` candidates, the most measured and a sample of the rest."""
    counts = table.counts
    rows = np.flatnonzero(counts)
    if not len(rows):
        return None
    if len(rows) > limit:
        # Never the best: those that were lucky would stand for all, and what they share would seem good.
        most = np.argsort(-counts[rows], kind="stable")[: 2 * limit // 3]
        chosen = {0, *most.tolist()}
        rest = [row for row in range(len(rows)) if row not in chosen]
        step = max(1, len(rest) // max(1, limit - len(chosen)))
        chosen.update(rest[::step][: limit - len(chosen)])
        rows = rows[sorted(chosen)]
    everyone = list(table.rows)
    candidates = np.array([everyone[row] for row in rows], dtype=np.intp)
    return condense(design, candidates, table.values[rows])


def _values(design: Design, effects: Effects, pool: Ints, seen: Ints) -> Floats:
    """Expected scores of a pool `[p, s]`, without what is particular to candidates not seen yet."""
    values = effects.additive(design, pool)
    old = seen >= 0
    values[old] += effects.rest[seen[old]]
    return values


def _promising(means: Floats, values: Floats) -> Ints:
    """Places of the candidates worth comparing: the best means, and the winners and best of the draws."""
    if len(means) <= POOL:
        return np.arange(len(means))
    best = np.argsort(-means, kind="stable")[: POOL // 2]
    lucky = np.argsort(-values.max(axis=1), kind="stable")[: POOL // 2]
    return np.unique(np.concatenate([best, lucky, np.argmax(values, axis=0)]))


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


def _recommend(
    fits: list[Fit],
    data: Evidence,
    original: Candidate,
    *,
    matters: float,
    least_gain: float,
    least_p: float,
) -> Recommendation:
    means = np.array([_seen_means(fit) for fit in fits])
    best = int(np.argmax(means.mean(axis=0)))
    is_original = (data.candidates == np.array(original)).all(axis=1)
    base = int(np.argmax(is_original)) if is_original.any() else best
    covariances = [fit.covariance(np.array([best, base])) for fit in fits]
    gaps = [
        (mean[best] - mean[base]) / INFLATION / math.sqrt(max(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1], 1e-18))
        for mean, cov in zip(means, covariances, strict=True)
    ]
    # Where nothing matters, nothing is better.
    p_better = matters * sum(map(normal_cdf, gaps)) / len(gaps) if best != base else 0.0
    if not is_original.any():
        # All its scores are missing: nothing speaks for it, and nothing can be said of the difference.
        p_better, which = 0.5, 0
    elif means[:, best].mean() - means[:, base].mean() < least_gain or p_better < least_p:
        best, p_better, which = base, 0.0, 1
    else:
        which = 0
    mean = float(means[:, best].mean())
    variance = float(np.mean([cov[which, which] for cov in covariances]) + means[:, best].var())
    half = Z95 * INFLATION * math.sqrt(variance)
    low, middle, high = (data.center + data.scale * x for x in (mean - half, mean, mean + half))
    return Recommendation(_tuple(data.candidates[best]), middle, (low, high), p_better)


def _probability(log_odds: float) -> float:
    return 0.5 + 0.5 * math.tanh(0.5 * log_odds)


def _seen_means(fit: Fit) -> Floats:
    effects = fit.effects()
    candidates = fit.evidence.candidates
    return (effects.additive(fit.design, candidates) + effects.rest)[:, 0]
