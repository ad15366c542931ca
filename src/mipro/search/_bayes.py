"""Structured Bayesian search: a crossed random-effects model and the knowledge gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mipro.search._base import Job, Recallable, Recommendation, Scores
from mipro.search._batch import Batch
from mipro.search._beliefs import neighbours
from mipro.search._blas import one_thread
from mipro.search._choice import choose
from mipro.search._contenders import contenders, expected_scores, promising
from mipro.search._design import design_of
from mipro.search._estimate import on_scale
from mipro.search._evidence import evidence_of
from mipro.search._gradient import Outlook
from mipro.search._hyper import VarianceChain, VariancePrior, tail_factors
from mipro.search._model import Pool
from mipro.search._refute import is_refuted
from mipro.search._space import candidate_of
from mipro.search._stopping import Stopping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.search._beliefs import Beliefs
    from mipro.search._book import Book, Floats, Ints, Table
    from mipro.search._design import Design
    from mipro.search._evidence import Evidence
    from mipro.search._model import Fit
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
SHORTLIST = 16
"""Candidates that the later blocks of a decision are chosen from: the best for its first one. Planning a
block hardly ever makes one of the others the best; without the list four runs were the same to the last
job."""
TAIL_BUDGET = 12
"""Evaluations for each candidate of the space from which the search looks for surprises: combinations that
are much better than their parts. With fewer it can't look at all."""
DIFFICULTY_LEFT = 0.3
"""Share of the variance of examples' common difficulty that counts as noise of a candidate's next block. Part
of it is known already from the other candidates that have met the examples."""
WORTHLESS = 1e-9
"""Worth of an evaluation, in standard deviations of a score, that is lost in rounding."""
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
        self._known_design = design_of(space)
        self._sizes = self._first_sizes = space.sizes
        self._newest = 0
        self._prior = VariancePrior(self._known_design.kinds)
        self._logs = self._prior.center.copy()
        self._earlier: list[Floats] = []
        self._stopping = Stopping(space, book, patience)
        self._stopped_at: tuple[int, ...] | None = None

    @one_thread()
    def ask(self) -> list[Job]:
        """See `Search.ask`."""
        self._book.advance()
        if self._book.left <= 0 or self._stopped_at == self._space.sizes:
            return []
        if self._stopping.nothing_matters:
            # The space has grown since: new choices may matter.
            self._stopping.forget()
        decision = self._book.next_decision
        rng = np.random.default_rng([self._seed, decision])
        if self._sizes != self._space.sizes:
            # The space has grown: what is known of the old choices is no reason to stop.
            self._sizes, self._newest = self._space.sizes, decision
            self._stopping.forget()
        if decision == 0:
            return self._open(rng)
        data = evidence_of(self._book.table, self._design)
        return self._explore(rng) if data is None else self._decide(data, rng)

    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """See `Search.tell`."""
        self._book.tell(jobs, scores)

    def state(self) -> Any:
        """See `Recallable.state`."""
        return {
            "logs": self._logs.tolist(),
            "earlier": [logs.tolist() for logs in self._earlier],
            "recent": self._stopping.recent,
            "nothing_matters": self._stopping.nothing_matters,
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
        self._stopping.recent = [(regret, odds) for regret, odds in state["recent"]]
        self._stopping.nothing_matters = state["nothing_matters"]
        self._newest = state.get("newest", 0)  # not there in runs of before
        stopped_at = state["stopped_at"]
        self._stopped_at = None if stopped_at is None else tuple(stopped_at)

    @one_thread()
    def recommend(self) -> Recommendation:
        """Return the best posterior mean among the candidates met, averaged over the variances."""
        original = self._space.original
        table = self._book.everything()
        data = evidence_of(table, self._design)
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
        found = choose(
            fits,
            data,
            original,
            math.inf if is_refuted(table, original) else float(np.mean(odds)),
            nothing_matters=self._stopping.nothing_matters,
            is_evidence_enough=self._stopping.is_evidence_enough(self._design),
        )
        return on_scale(found, table)

    @one_thread()
    def beliefs(self) -> Beliefs:
        """Return the posterior mean of the leader with each choice in place of its own."""
        data = evidence_of(self._book.everything(), self._design)
        if data is None:
            return tuple((math.nan,) * size for size in self._space.sizes)
        fit = VarianceChain(self._design, data, self._prior, self._logs, tails=False).fit()
        return neighbours(fit, candidate_of(data.candidates[int(np.argmax(fit.means()))]))

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
        pool, seen = contenders(self._space, self._design, data, effects, draws)
        fresh = tail_factors(rng, len(pool)) if self._tails else np.ones(len(pool))
        means = expected_scores(self._design, effects, pool, seen)[:, 0]
        values = expected_scores(self._design, draws, pool, seen)
        unseen = seen < 0
        spread = fit.scales.rest * np.sqrt(fresh[unseen])[:, None]
        values[unseen] += rng.normal(size=(unseen.sum(), DRAWS)) * spread
        regret = float(values.max(axis=0).mean() - means.max())
        odds = self._stopping.odds if self._stopping.is_settled else chain.odds()
        if self._book.next_decision < self._newest + self._book.lookahead:
            # What is new was asked for, but is not known yet, however many decisions were made since.
            self._stopping.forget()
        self._stopping.note(regret, odds)
        if self._stopping.ends(self._design):
            return self._stop()
        if self._stopping.is_open and (newcomers := self._newcomers(candidate_of(pool[np.argmax(means)]))):
            return self._meet(newcomers)
        others = [self._fit_at(logs, data, rng) for logs in self._earlier]
        self._earlier = [self._logs, *self._earlier][: OUTLOOKS - 1]
        every = np.array(
            [means, *(expected_scores(self._design, f.effects(), pool, seen)[:, 0] for f in others)]
        )
        fits = [fit, *others]
        means = every.mean(axis=0)
        keep = promising(means, values)
        kept = Pool(self._design, data, pool[keep], seen[keep], fresh[keep])
        joint = np.array([f.joint(kept) for f in fits])
        outlook = Outlook(every[:, keep], joint, np.array([self._noise(f) for f in fits]))
        return self._measure(outlook, [candidate_of(row) for row in pool[keep]], means[keep], seen[keep])

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
            data = evidence_of(table, self._design, limit=LEARNERS) or data
        return VarianceChain(self._design, data, self._prior, self._logs, tails=self._tails)

    def _fit(self, chain: VarianceChain, data: Evidence, rng: np.random.Generator) -> Fit:
        """Posterior of all the data at the point that a chain has come to."""
        return self._fit_at(chain.logs, data, rng) if len(data.candidates) > LEARNERS else chain.fit()

    def _fit_at(self, logs: Floats, data: Evidence, rng: np.random.Generator) -> Fit:
        """Posterior of all the data for given variances."""
        chain = VarianceChain(self._design, data, self._prior, logs, tails=self._tails)
        chain.loosen(rng)
        return chain.fit()

    def _stop(self) -> list[Job]:
        self._stopped_at = self._space.sizes
        return []

    def _covering(self, rng: np.random.Generator) -> list[Candidate]:
        """Candidates in which every choice appears, each as seldom as possible."""
        count = max(self._space.sizes)
        columns = []
        for size in self._space.sizes:
            repeated = np.concatenate([rng.permutation(size) for _ in range(-(-count // size))])
            columns.append(repeated[:count])
        rows = dict.fromkeys(candidate_of(row) for row in np.stack(columns, axis=1))
        rows.pop(self._space.original, None)
        return list(rows)
