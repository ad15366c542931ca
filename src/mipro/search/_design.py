"""Which effects a candidate's score is made of: one id per term, for any candidate of a space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mipro.search._book import Ints
    from mipro.search._space import Space

JOINT_LIMIT = 100_000
"""Predictors with more joint choices than this get no interaction term."""


@dataclass(frozen=True, slots=True)
class Term:
    """One family of effects: one variable's choices, or one predictor's joint choices, or a change at all."""

    variables: tuple[int, ...]
    """Positions of the variables in the candidate; several for an interaction."""
    sizes: tuple[int, ...]
    """Number of choices of each of them."""
    kind: int
    """Which variance the effects share."""
    is_change: bool = False
    """Whether all choices but the original have one effect in common."""

    @property
    def count(self) -> int:
        """Number of effects."""
        return 2 if self.is_change else math.prod(self.sizes)

    def ids(self, candidates: Ints) -> Ints:
        """Effect index of each candidate, `[n]` for candidates `[n, variables]`."""
        if self.is_change:
            return (candidates[:, self.variables[0]] > 0).astype(np.intp)
        return np.ravel_multi_index(
            tuple(candidates[:, variable] for variable in self.variables), self.sizes
        ).astype(np.intp)


@dataclass(frozen=True, slots=True)
class Design:
    """The terms of a space: main effects first, interactions within predictors after them."""

    mains: tuple[Term, ...]
    """One term for each variable, in order."""
    interactions: tuple[Term, ...]
    """One term for each predictor with several variables, unless it is the whole candidate."""
    changes: tuple[Term, ...]
    """One term for each variable: the original choice against all others. Proposals tend to be alike and
    the original to be the odd one out, which effects of single choices alone would call luck."""
    kinds: int
    """Number of kinds of variables ("instruction", "demos"): main variances, learned apart."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms, mains first."""
        return self.mains + self.interactions + self.changes

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of choices of each variable."""
        return tuple(term.sizes[0] for term in self.mains)


def design_of(space: Space) -> Design:
    """Read the terms off the names of a space's variables."""
    group_of, kind_of = [], []
    for name in space.names:
        head, _, tail = name.rpartition(".")
        group_of.append(head or name)
        kind_of.append(tail)
    kinds = list(dict.fromkeys(kind_of))
    mains = tuple(Term((v,), (size,), kinds.index(kind_of[v])) for v, size in enumerate(space.sizes))
    groups = tuple(
        tuple(v for v, owner in enumerate(group_of) if owner == group) for group in dict.fromkeys(group_of)
    )
    interactions = []
    for group in groups:
        sizes = tuple(space.sizes[v] for v in group)
        if 1 < len(group) < len(space) and math.prod(sizes) <= JOINT_LIMIT:
            interactions.append(Term(group, sizes, len(kinds)))
    changes = tuple(Term((v,), (size,), len(kinds) + 1, is_change=True) for v, size in enumerate(space.sizes))
    return Design(mains, tuple(interactions), changes, len(kinds))
