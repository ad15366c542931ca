"""What is believed of single choices: the expected score of the best candidate with one choice replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mipro.search._base import Search
    from mipro.search._book import Ints
    from mipro.search._model import Fit
    from mipro.search._space import Candidate, Space

Beliefs: TypeAlias = "tuple[tuple[float, ...], ...]"
"""`beliefs[v][c]`: expected score with choice c of variable v, in the metric's unit."""

SHRINK = 8.0
"""Scores that the mean of all scores counts as, beside those of a single choice."""


@runtime_checkable
class Believes(Protocol):
    """A search with a model of the scores, which can be asked about single choices."""

    def beliefs(self) -> Beliefs:
        """Return what is expected of every choice, judged by everything told so far."""


def beliefs(
    search: Search, space: Space, told: Iterable[tuple[Candidate, Sequence[float | None]]]
) -> Beliefs | None:
    """Return what is believed of every choice of the space, by the search's model or by plain means.

    Args:
        search: Asked if it has a model.
        space: Its space.
        told: Candidates with their scores, as the search was told them.

    Returns:
        The beliefs, or None while no score is known. Without a model each is the mean over all scores
        with the choice, shrunk towards the mean of all scores as if that were eight more of them.
    """
    rows = [(candidate, [s for s in scores if s is not None]) for candidate, scores in told]
    total = sum(sum(scores) for _, scores in rows)
    count = sum(len(scores) for _, scores in rows)
    if not count:
        return None
    if isinstance(search, Believes):
        return search.beliefs()
    sums = [np.full(size, SHRINK * total / count) for size in space.sizes]
    counts = [np.full(size, SHRINK) for size in space.sizes]
    for candidate, scores in rows:
        for variable, choice in enumerate(candidate):
            sums[variable][choice] += sum(scores)
            counts[variable][choice] += len(scores)
    return tuple(tuple((s / n).tolist()) for s, n in zip(sums, counts, strict=True))


def neighbours(fit: Fit, leader: Candidate) -> Beliefs:
    """Return the posterior mean of `leader` with each of its choices replaced by each other one.

    What is particular to a whole combination counts where the combination was met.

    Args:
        fit: Posterior of the table.
        leader: The candidate whose choices are replaced one at a time.
    """
    evidence = fit.evidence
    effects = fit.effects()
    seen = {tuple(row): index for index, row in enumerate(evidence.candidates.tolist())}
    found = []
    for variable, size in enumerate(fit.design.sizes):
        around: Ints = np.tile(np.array(leader, dtype=np.intp), (size, 1))
        around[:, variable] = np.arange(size)
        means = effects.additive(fit.design, around)[:, 0]
        for choice, row in enumerate(around.tolist()):
            index = seen.get(tuple(row))
            means[choice] += effects.rest[index, 0] if index is not None else 0.0
        found.append(tuple((evidence.center + evidence.scale * means).tolist()))
    return tuple(found)
