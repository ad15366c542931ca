"""The known scores, condensed to what the model's likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mipro.search._book import Floats, Ints
    from mipro.search._design import Design

MAX_COLUMNS = 128
"""Most columns of example effects; those of rarer choices are left to the noise."""


@dataclass(frozen=True, slots=True)
class Group:
    """Examples that the same candidates have met."""

    rows: Ints
    """Rows of those candidates, `[s]`."""
    count: int
    """Number of examples, m."""
    sums: Floats
    """Sum of the scores over the examples, `[s]`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sufficient statistics of a table for given main effects.

    With `Z` the 0/1 matrix of example-effect columns (one for all candidates, one for each choice of each
    variable), each group holds `Z'Z` and the scatter `sum_e (Z'y_e)(Z'y_e)'`.
    """

    candidates: Ints
    """Candidates with at least one known score, `[n, variables]`."""
    groups: tuple[Group, ...]
    """Examples grouped by who met them."""
    columns: Floats
    """`Z`, `[n, k]`."""
    column_kinds: Ints
    """Variance of each column: 0 common, 1 + kind for choices, `[k]`."""
    grams: Floats
    """`Z'Z` of each group, `[g, k, k]`."""
    scatters: Floats
    """Scatter of each group, `[g, k, k]`."""
    ids: tuple[Ints, ...]
    """Effect index of each candidate in each term of the design, `[n]` each."""
    shared: Floats
    """How many effects of each kind two candidates share, interactions and changes last,
    `[kinds + 2, n, n]`."""
    counts: Floats
    """Number of known scores of each candidate, `[n]`."""
    squares: float
    """Sum of all squared scores, centred and scaled."""
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
    columns, kinds = _columns(design, candidates)
    met = np.flatnonzero(known.any(axis=0))
    packed = np.packbits(known[:, met], axis=0).T
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.ravel()
    by_group = np.argsort(inverse, kind="stable")
    bounds = np.searchsorted(inverse[by_group], np.arange(len(first) + 1))
    groups, grams, scatters = [], [], []
    for index, example in enumerate(met[first]):
        rows = np.flatnonzero(known[:, example])
        examples = met[by_group[bounds[index] : bounds[index + 1]]]
        part = scores[np.ix_(rows, examples)]
        projected = columns[rows].T @ part
        groups.append(Group(rows, len(examples), part.sum(axis=1)))
        grams.append(columns[rows].T @ columns[rows])
        scatters.append(projected @ projected.T)
    ids = tuple(term.ids(candidates) for term in design.terms)
    shared = np.zeros((design.kinds + 2, len(candidates), len(candidates)))
    for term, effect in zip(design.terms, ids, strict=True):
        shared[term.kind] += effect[:, None] == effect[None, :]
    return Evidence(
        candidates=candidates,
        ids=ids,
        shared=shared,
        groups=tuple(groups),
        columns=columns,
        column_kinds=kinds,
        grams=np.array(grams),
        scatters=np.array(scatters),
        counts=known.sum(axis=1).astype(float),
        squares=float((scores**2).sum()),
        center=center,
        scale=scale,
    )


def _columns(design: Design, candidates: Ints) -> tuple[Floats, Ints]:
    count = len(candidates)
    blocks = [np.ones((count, 1))]
    kinds = [0]
    for term in design.mains:
        used, ids = np.unique(term.ids(candidates), return_inverse=True)
        block = np.zeros((count, len(used)))
        block[np.arange(count), ids.ravel()] = 1.0
        blocks.append(block)
        kinds += [1 + term.kind] * len(used)
    columns, column_kinds = np.concatenate(blocks, axis=1), np.array(kinds, dtype=np.intp)
    if len(kinds) > MAX_COLUMNS:
        # Choices that few candidates share say least about their covariance.
        kept = np.sort(np.argsort(-columns.sum(axis=0), kind="stable")[:MAX_COLUMNS])
        columns, column_kinds = columns[:, kept], column_kinds[kept]
    return columns, column_kinds
