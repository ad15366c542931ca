"""What is measured before a search may say that nothing matters, and what speaks against it at once.

Under variances by which nothing matters no evaluation is worth anything, so that the knowledge gradient does
not look for the few candidates that are better than all others. A tournament does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mipro.search._batch import Batch

if TYPE_CHECKING:
    from mipro.search._base import Job
    from mipro.search._book import Book, Table
    from mipro.search._space import Candidate, Space

RUNGS = ((1.0, 8), (0.15, 24), (0.05, 64))
"""The tournament: such a share of the candidates, the best so far, must have met so many examples, or all."""
SHRINK = 8.0
"""Scores that the mean of all counts as, beside a candidate's own, when the best so far are looked for."""
SURPRISE, SURPRISE_MOST = 2.0, 160
"""Standard errors above the mean of all from which a candidate is measured on twice as many examples, and
most examples that are asked for so."""
REFUTED, REFUTED_ORIGINAL, REFUTED_LEAST = 2.8, 2.5, 64
"""Standard errors above the mean of all at which a change is too good, and below it at which the original is
too bad, for nothing to matter; and the fewest scores, or all, that a change must have for that."""


def doubts(book: Book, space: Space, block_size: int, *, everyone: bool) -> list[Job]:
    """Return what must still be asked before nothing may seem to matter; empty once all was asked.

    Args:
        book: What was asked and told; not modified.
        space: The space.
        block_size: Examples of a first look at a candidate.
        everyone: Whether candidates that were not met take part.
    """
    batch = Batch(book, block_size)
    ranked = _ranked(book.table)
    if everyone:
        met = set(ranked)
        listed = (tuple(map(int, choices)) for choices in np.ndindex(*space.sizes))
        ranked += [candidate for candidate in listed if candidate not in met]
    for share, examples in RUNGS:
        least = min(examples, book.num_examples)
        behind = [candidate for candidate in ranked if book.met(candidate) < least]
        # Those that have met as many count, whoever they are: the best so far are others after every rung.
        places = math.ceil(share * len(ranked)) - (len(ranked) - len(behind))
        for candidate in behind[: max(places, 0)]:
            batch.add(candidate, "confirming a surprise", least)
        if batch.cells:
            return batch.jobs()
    for candidate, z in _surprises(book.table).items():
        if z > SURPRISE and book.met(candidate) < SURPRISE_MOST:
            batch.add(candidate, "confirming a surprise", min(2 * book.met(candidate), SURPRISE_MOST))
    return batch.jobs()


def is_refuted(table: Table, original: Candidate) -> bool:
    """Whether a change, or the original, stands out so far that something matters, whatever a model says."""
    found = _surprises(table)
    if found.get(original, 0.0) < -REFUTED_ORIGINAL:
        return True
    least = min(REFUTED_LEAST, table.values.shape[1])
    return any(
        z > REFUTED and table.counts[table.rows[candidate]] >= least
        for candidate, z in found.items()
        if candidate != original
    )


def _ranked(table: Table) -> list[Candidate]:
    """Candidates met, the best first; a mean of few scores is drawn towards that of all."""
    center = table.sums.sum() / max(table.counts.sum(), 1.0)
    shrunk = (table.sums - center * table.counts) / (table.counts + SHRINK)
    candidates = list(table.rows)
    return [candidates[row] for row in np.argsort(-shrunk, kind="stable")]


def _surprises(table: Table) -> dict[Candidate, float]:
    """How far the mean of each candidate is above that of all scores, in standard errors."""
    known = table.values[~np.isnan(table.values)]
    if not known.size:
        return {}
    errors = max(float(known.std()), 1e-12) / np.sqrt(np.maximum(table.counts, 1.0))
    z = (table.sums / np.maximum(table.counts, 1.0) - known.mean()) / errors
    return dict(zip(table.rows, np.where(table.counts > 0, z, 0.0).tolist(), strict=True))
