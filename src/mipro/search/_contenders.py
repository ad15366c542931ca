"""Which candidates are compared before the next evaluations are planned, and what is expected of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mipro.search._draw import LIST_LIMIT
from mipro.search._space import candidate_of

if TYPE_CHECKING:
    from mipro.search._book import Floats, Ints
    from mipro.search._design import Design
    from mipro.search._evidence import Evidence
    from mipro.search._model import Effects
    from mipro.search._space import Space

MOST = 96
"""Candidates whose next blocks are compared, when there are more."""


def contenders(
    space: Space, design: Design, data: Evidence, means: Effects, draws: Effects
) -> tuple[Ints, Ints]:
    """Return the candidates worth a look: all of a small space, else those met and the best by the model.

    Args:
        space: What is chosen from.
        design: Its terms.
        data: The known scores.
        means: Posterior means of the effects.
        draws: Draws from their posterior.

    Returns:
        The candidates, `[p, variables]`, and their rows in the data, -1 for those without a score, `[p]`.
    """
    sizes = space.sizes
    if space.size <= LIST_LIMIT:
        pool = np.stack(np.unravel_index(np.arange(space.size), sizes), axis=1)
        seen = np.full(len(pool), -1)
        seen[np.ravel_multi_index(tuple(data.candidates.T), sizes)] = np.arange(len(data.candidates))
        return pool, seen
    greedy = np.concatenate([_greedy(design, means), _greedy(design, draws)])
    rows = {candidate_of(row) for row in data.candidates}
    fresh = np.array(
        [row for row in np.unique(greedy, axis=0) if candidate_of(row) not in rows], dtype=np.intp
    )
    pool = np.concatenate([data.candidates, fresh.reshape(-1, len(sizes))])
    seen = np.where(np.arange(len(pool)) < len(data.candidates), np.arange(len(pool)), -1)
    return pool, seen


def expected_scores(design: Design, effects: Effects, pool: Ints, seen: Ints) -> Floats:
    """Expected scores of a pool `[p, s]`, without what is particular to candidates not seen yet."""
    values = effects.additive(design, pool)
    old = seen >= 0
    values[old] += effects.rest[seen[old]]
    return values


def promising(means: Floats, values: Floats) -> Ints:
    """Places of the candidates worth comparing: the best means, and the winners and best of the draws.

    Args:
        means: Expected scores, `[p]`.
        values: Draws of them, `[p, s]`.
    """
    if len(means) <= MOST:
        return np.arange(len(means))
    best = np.argsort(-means, kind="stable")[: MOST // 2]
    lucky = np.argsort(-values.max(axis=1), kind="stable")[: MOST // 2]
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
