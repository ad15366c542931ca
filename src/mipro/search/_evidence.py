"""The known scores, condensed to what the model's likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mipro.search._book import Floats, Ints
    from mipro.search._design import Design

MAX_GROUPS = 48
"""Most groups of examples; there are more only where scores are missing here and there."""


@dataclass(frozen=True, slots=True)
class Group:
    """Examples that the same candidates have met."""

    rows: Ints
    """Rows of those candidates, `[s]`."""
    cells: tuple[Ints, ...]
    """The same as an index of their part of a square matrix over all candidates."""
    count: int
    """Number of examples, m."""
    sums: Floats
    """Sum of the scores over the examples, `[s]`."""
    scatter: Floats
    """Sum over the examples of the products of two candidates' scores, `[s, s]`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sufficient statistics of a table for given main effects."""

    candidates: Ints
    """Candidates with at least one known score, `[n, variables]`."""
    groups: tuple[Group, ...]
    """Examples grouped by who met them."""
    ids: tuple[Ints, ...]
    """Effect index of each candidate in each term of the design, `[n]` each."""
    shared: Floats
    """How many effects of each kind two candidates share, interactions and changes last,
    `[kinds + 2, n, n]`."""
    center: float
    """Subtracted from the scores, in the metric's unit."""
    scale: float
    """Divides the centred scores, in the metric's unit."""


def condense(design: Design, candidates: Ints, values: Floats) -> Evidence:
    """Condense a table.

    Args:
        design: Terms of the space.
        candidates: `[n, variables]`.
        values: Scores `[n, num_examples]`, NaN where unknown; each row has a known score.

    Returns:
        Its sufficient statistics.
    """
    known = ~np.isnan(values)
    flat = values[known]
    center = float(flat.mean())
    scale = float(flat.std()) or 1.0
    scores = np.where(known, (values - center) / scale, 0.0)
    ids = tuple(term.ids(candidates) for term in design.terms)
    shared = np.zeros((design.kinds + 2, len(candidates), len(candidates)))
    for term, effect in zip(design.terms, ids, strict=True):
        shared[term.kind] += effect[:, None] == effect[None, :]
    return Evidence(
        candidates=candidates,
        groups=tuple(_group(scores, pattern, examples) for pattern, examples in _patterns(known)),
        ids=ids,
        shared=shared,
        center=center,
        scale=scale,
    )


def _group(scores: Floats, pattern: npt.NDArray[np.bool_], examples: Ints) -> Group:
    rows = np.flatnonzero(pattern)
    part = scores[np.ix_(rows, examples)]
    return Group(rows, np.ix_(rows, rows), len(examples), part.sum(axis=1), part @ part.T)


def _patterns(known: npt.NDArray[np.bool_]) -> list[tuple[npt.NDArray[np.bool_], Ints]]:
    """Return who met which examples: for each group its candidates `[n]` and its examples.

    Of many groups the largest are kept. The examples of the others join the largest kept group whose
    candidates have all met them, so that a few of their scores go unused.
    """
    met = np.flatnonzero(known.any(axis=0))
    packed = np.packbits(known[:, met], axis=0).T
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.ravel()
    patterns = known[:, met[first]].T
    sizes = np.bincount(inverse)
    if len(patterns) > MAX_GROUPS:
        kept = np.sort(np.argsort(-sizes * patterns.sum(axis=1), kind="stable")[:MAX_GROUPS])
        fits = (patterns[kept].astype(int) @ (~patterns).T.astype(int)) == 0
        best = np.argmax(fits * patterns[kept].sum(axis=1)[:, None], axis=0)
        home = np.where(fits[best, np.arange(len(patterns))], kept[best], -1)
        inverse = home[inverse]
    return [(patterns[g], met[inverse == g]) for g in np.unique(inverse[inverse >= 0])]
