"""When a search ends by itself: the best is known, or nothing seems to matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mipro.search._refute import is_refuted

if TYPE_CHECKING:
    from mipro.search._book import Book
    from mipro.search._design import Design
    from mipro.search._space import Space

RECENT, NULL_RECENT = 8, 16
"""Decisions whose findings are averaged before the search stops, and before it stops since nothing seems to
matter: for a while that seems so in many runs with weak effects."""
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


class Stopping:
    """What the last decisions found, and whether that ends the search.

    Args:
        space: What is chosen from.
        book: Knows what was spent.
        patience: Above 1 stops later, below 1 earlier.
    """

    def __init__(self, space: Space, book: Book, patience: float) -> None:
        self._space = space
        self._book = book
        self._patience = patience
        self.recent: list[tuple[float, float]] = []
        """Expected regret of the leader, in standard deviations of a score, and log odds that something
        matters, of the last decisions."""
        self.nothing_matters = False
        """Whether the search has ended for that reason."""

    @property
    def odds(self) -> float:
        """Log odds that something matters by the last decision; 0 before the first."""
        return self.recent[-1][1] if self.recent else 0.0

    @property
    def is_settled(self) -> bool:
        """Whether something matters so surely that it need not be weighed again."""
        return self.odds > SETTLED_ODDS

    @property
    def is_open(self) -> bool:
        """Whether it is open, by the last decision, that anything matters."""
        return self.odds <= SOME_ODDS

    def forget(self) -> None:
        """Begin anew: what was found is no reason to stop any more."""
        self.recent, self.nothing_matters = [], False

    def note(self, regret: float, odds: float) -> None:
        """Take in what a decision found; see `recent`."""
        self.recent = [*self.recent, (regret, odds)][-NULL_RECENT:]

    def ends(self, design: Design) -> bool:
        """Whether the best is known, or nothing matters."""
        if len(self.recent) < RECENT:
            return False
        regret, odds = (float(mean) for mean in np.mean(self.recent[-RECENT:], axis=0))
        if odds > SOME_ODDS:
            return regret < REGRET / self._patience
        nothing_seems_to = len(self.recent) == NULL_RECENT and np.mean(self.recent, axis=0)[1] < NULL_ODDS
        if nothing_seems_to and self.is_evidence_enough(design):
            self.nothing_matters = not is_refuted(self._book.table, self._space.original)
        return self.nothing_matters

    def is_evidence_enough(self, design: Design) -> bool:
        """Whether so much was measured that nothing can seem to matter for no other reason."""
        # A single predictor has none beside the whole candidate.
        joint = sum(term.count for term in design.interactions) or self._space.size
        of_space = max(NULL_CHOICE * sum(self._space.sizes), NULL_JOINT * joint)
        return self._book.spent >= max(NULL_LEAST * self._book.budget, of_space) * self._patience
