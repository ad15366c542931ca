"""Paired successive halving: all survivors meet the same examples, the worse half leaves each round."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from mipro.search._base import Job, Recommendation, Scores, Search
from mipro.search._draw import draw_distinct
from mipro.search._estimate import best_of, describe, mean_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.search._book import Book, Table
    from mipro.search._space import Candidate, Space


class HalvingSearch(Search):
    """Successive halving over random candidates on nested blocks of examples.

    As many candidates start as the budget can give `min_block` examples in the first of `log2(n)` rounds
    of equal cost. Each decision extends one survivor by one block; at the end of a round the better half
    (by the mean over all examples met) goes on. When the space grows after the last round, a new bracket
    of unseen candidates and the best so far is raced with what is left of the budget.

    Args:
        space: What to choose from.
        book: The rules' keeper.
        seed: Seed of the random choice of candidates.
        min_block: Least number of examples a starting candidate gets; all, where there are fewer.

    References:
        Karnin, Koren & Somekh, 2013, "Almost Optimal Exploration in Multi-Armed Bandits";
        paired racing of prompts: Zehle et al., 2025, "CAPO", arXiv:2504.16005.
    """

    def __init__(self, space: Space, book: Book, *, seed: int = 0, min_block: int = 8) -> None:
        self._space = space
        self._book = book
        self._rng = Random(seed)  # noqa: S311 - no cryptography
        self._min_block = min(min_block, book.num_examples)
        self._survivors: list[Candidate] = []
        self._queue: list[tuple[Candidate, int]] = []
        self._rounds = 0
        self._round_budget = 0
        self._raced_size = 0

    def ask(self) -> list[Job]:
        """See `Search.ask`."""
        self._book.advance()
        while self._book.left > 0:
            while self._queue:
                candidate, depth = self._queue.pop(0)
                job = self._extend(candidate, depth)
                if job is not None:
                    return self._book.record([job])
            if not self._next_round():
                break
        return []

    def tell(self, jobs: Sequence[Job], scores: Scores) -> None:
        """See `Search.tell`."""
        self._book.tell(jobs, scores)

    def recommend(self) -> Recommendation:
        """Return the best mean among the candidates met on the most examples."""
        table = self._book.everything()
        return describe(table, best_of(table, table.rows, otherwise=self._space.original))

    def _extend(self, candidate: Candidate, depth: int) -> Job | None:
        met = self._book.num_examples - len(self._book.free(candidate))
        examples = self._book.free(candidate)[: min(max(0, depth - met), self._book.left)]
        if not len(examples):
            return None
        original = candidate == self._space.original and met == 0
        reason = "original" if original else f"round with {len(self._survivors)} left"
        return Job(candidate, tuple(int(e) for e in examples), reason)

    def _next_round(self) -> bool:
        """Plan the next round; False when nothing is left to race."""
        if self._rounds <= 1:
            return self._start_bracket()
        self._rounds -= 1
        table = self._book.table
        ranked = sorted(self._survivors, key=lambda candidate: _rank(table, candidate))
        self._survivors = ranked[: max(1, math.ceil(len(ranked) / 2))]
        self._plan()
        return True

    def _start_bracket(self) -> bool:
        if self._raced_size == self._space.size:
            return False
        self._raced_size = self._space.size
        # Not what `recommend` says, which knows of scores that this decision may not see.
        keep = best_of(self._book.table, self._book.table.rows, otherwise=self._space.original)
        count = self._bracket_size()
        fresh = draw_distinct(self._space, count - 1, self._rng, avoid={*self._book.asked(), keep})
        self._survivors = [keep, *fresh]
        self._rounds = _rounds(len(self._survivors))
        self._round_budget = self._book.left // self._rounds
        self._plan()
        return True

    def _bracket_size(self) -> int:
        most = min(self._space.size, self._book.left // self._min_block)
        return next((n for n in range(most, 2, -1) if n * _rounds(n) * self._min_block <= self._book.left), 2)

    def _plan(self) -> None:
        met = min(self._book.num_examples - len(self._book.free(c)) for c in self._survivors)
        depth = min(self._book.num_examples, met + max(1, self._round_budget // len(self._survivors)))
        self._queue = [(candidate, depth) for candidate in self._survivors]


def _rounds(count: int) -> int:
    return max(1, math.ceil(math.log2(count)))


def _rank(table: Table, candidate: Candidate) -> tuple[bool, float]:
    mean = mean_known(table.known(candidate))
    return (math.isnan(mean), -mean if not math.isnan(mean) else 0.0)
