"""The known scores, condensed to what the model's likelihood needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from mipro.search._book import Floats, Ints, Table
    from mipro.search._design import Design

    Group: TypeAlias = tuple[npt.NDArray[np.bool_], Ints]
    """Examples that the same candidates have met: which those are, `[n]`, and the examples' places."""

ROUNDING = 1e-12
"""Standard deviation of scores, as a share of their mean, up to which they are all the same."""
MOST = 192
"""Candidates that evidence is made of, when there are more."""
MAX_GROUPS = 48
"""Most groups of examples; there are more only where scores are missing here and there."""


@dataclass(frozen=True, slots=True)
class Rung:
    """Candidates of a ladder that have met the same examples."""

    start: int
    """Place of the first of them in the ladder."""
    stop: int
    """Place after the last of them. Those before have met all that they have met."""
    sums: Floats
    """Sums of the scores over the examples that they have met, of all candidates down to them, `[stop]`."""
    scatter: Floats
    """Sums of the products of two candidates' scores over the same examples, `[stop, stop]`."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Candidates of whom each has met, of some examples, all that the next one has met.

    So the covariances of their scores on all these examples are corners of one matrix, and one Cholesky
    factor serves them all.
    """

    rows: Ints
    """Rows of the candidates, `[s]`."""
    cells: tuple[Ints, ...]
    """The same as an index of their part of a square matrix over all candidates."""
    met: Ints
    """Number of the examples that each has met, `[s]`, falling."""
    rungs: tuple[Rung, ...]
    """From those who have met the most."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Sufficient statistics of a table for given main effects."""

    candidates: Ints
    """Candidates with at least one known score, `[n, variables]`."""
    ladders: tuple[Ladder, ...]
    """All known scores; there is one ladder where candidates meet the examples in one order and none of their
    scores is missing."""
    ids: tuple[Ints, ...]
    """Effect index of each candidate in each term of the design, `[n]` each."""
    shared: Floats
    """How many effects of each kind two candidates share, interactions and changes last,
    `[kinds + 2, n, n]`."""
    center: float
    """Subtracted from the scores, in the metric's unit."""
    scale: float
    """Divides the centred scores, in the metric's unit."""


def spread_of(scores: Floats) -> float:
    """Return the standard deviation of some known scores; 0 where they are all the same but for rounding."""
    spread = float(scores.std())
    return spread if spread > ROUNDING * abs(float(scores.mean())) else 0.0


def evidence_of(table: Table, design: Design, limit: int = MOST) -> Evidence | None:
    """Condense what is known, or None where nothing is.

    Args:
        table: Known scores.
        design: Terms of the space.
        limit: Most candidates; of more the most measured are taken, the original, and a sample of the rest.
    """
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
    met = known.any(axis=0)
    known, values = known[:, met], values[:, met]
    flat = values[known]
    center = float(flat.mean())
    scale = spread_of(flat) or abs(center) or 1.0
    scores = np.where(known, (values - center) / scale, 0.0)
    ids = tuple(term.ids(candidates) for term in design.terms)
    return Evidence(
        candidates=candidates,
        ladders=tuple(_ladder(scores, groups) for groups in _nested(_patterns(known))),
        ids=ids,
        shared=shared_effects(design, ids, ids),
        center=center,
        scale=scale,
    )


def shared_effects(design: Design, left: Sequence[Ints], right: Sequence[Ints]) -> Floats:
    """How many effects of each kind two candidates share, `[kinds + 2, l, r]`.

    Args:
        design: Terms of the space.
        left: Effect index of some candidates in each term, `[l]` each.
        right: The same of others, `[r]` each.
    """
    shared = np.zeros((design.kinds + 2, len(left[0]), len(right[0])))
    for term, mine, others in zip(design.terms, left, right, strict=True):
        shared[term.kind] += mine[:, None] == others[None, :]
    return shared


def _nested(groups: list[Group]) -> list[list[Group]]:
    """Share out groups of examples among few lists; who met a group has met the one before it."""
    lists: list[list[Group]] = []
    for group in sorted(groups, key=lambda group: -int(group[0].sum())):
        fitting = (found for found in lists if found[-1][0][group[0]].all())
        home = next(fitting, None)
        if home is None:
            lists.append([group])
        else:
            home.append(group)
    return lists


def _ladder(scores: Floats, groups: list[Group]) -> Ladder:
    depths = np.sum([pattern for pattern, _ in groups], axis=0)
    rows = np.argsort(-depths, kind="stable")[: np.count_nonzero(depths)]
    stops = [int(pattern.sum()) for pattern, _ in groups]
    sums, scatter = np.zeros(len(rows)), np.zeros((len(rows), len(rows)))
    met = np.zeros(len(rows), dtype=np.intp)
    rungs = []
    for (_, examples), start, stop in zip(groups, [*stops[1:], 0], stops, strict=True):
        part = scores[np.ix_(rows[:stop], examples)]
        sums = sums[:stop] + part.sum(axis=1)
        scatter = scatter[:stop, :stop] + part @ part.T
        met[:stop] += len(examples)
        rungs.append(Rung(start, stop, sums, scatter))
    return Ladder(rows, np.ix_(rows, rows), met, tuple(reversed(rungs)))


def _patterns(known: npt.NDArray[np.bool_]) -> list[Group]:
    """Return who met which examples, each of which someone has met.

    Of many groups the largest are kept. The examples of the others join the largest kept group whose
    candidates have all met them, so that a few of their scores go unused.
    """
    packed = np.packbits(known, axis=0).T
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.ravel()
    patterns = known[:, first].T
    sizes = np.bincount(inverse)
    if len(patterns) > MAX_GROUPS:
        kept = np.sort(np.argsort(-sizes * patterns.sum(axis=1), kind="stable")[:MAX_GROUPS])
        fits = (patterns[kept].astype(int) @ (~patterns).T.astype(int)) == 0
        best = np.argmax(fits * patterns[kept].sum(axis=1)[:, None], axis=0)
        home = np.where(fits[best, np.arange(len(patterns))], kept[best], -1)
        inverse = home[inverse]
    return [(patterns[g], np.flatnonzero(inverse == g)) for g in np.unique(inverse[inverse >= 0])]
