"""Blocks of examples put together to one decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipro.search._base import Job

if TYPE_CHECKING:
    from mipro.search._book import Book
    from mipro.search._space import Candidate

GROWTH = 0.25
"""How much more of a candidate is asked for, as a share of what it has met."""


class Batch:
    """Collects the blocks of a decision; all of one candidate's make one job.

    Args:
        book: Knows what can be asked; not modified.
        block_size: Examples of a first look at a candidate.
    """

    def __init__(self, book: Book, block_size: int) -> None:
        self._book = book
        self._block_size = block_size
        self._planned: dict[Candidate, int] = {}
        self._reasons: dict[Candidate, str] = {}
        self.cells = 0
        """Evaluations planned so far."""

    def free(self, candidate: Candidate) -> int:
        """How many more evaluations of a candidate can be planned."""
        met = self._book.met(candidate) + self._planned.get(candidate, 0)
        return self._book.num_examples - met

    def block(self, candidate: Candidate) -> int:
        """How many evaluations a candidate's next block holds; 0 where none can be planned."""
        free = self.free(candidate)
        met = self._book.num_examples - free
        return min(max(self._block_size, int(met * GROWTH)), self._book.left - self.cells, free)

    def add(self, candidate: Candidate, reason: str) -> None:
        """Plan a candidate's next block, if there is one; see `block`."""
        size = self.block(candidate)
        if size > 0:
            self._planned[candidate] = self._planned.get(candidate, 0) + size
            self._reasons.setdefault(candidate, reason)
            self.cells += size

    def jobs(self) -> list[Job]:
        """Return what was planned, in the order in which candidates were first added."""
        return [
            Job(candidate, tuple(map(int, self._book.free(candidate)[:size])), self._reasons[candidate])
            for candidate, size in self._planned.items()
        ]
