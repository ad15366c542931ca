"""Random candidates of a space that may be far too large to list."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from mipro.search._space import Candidate, Space

LIST_LIMIT = 4096
"""Spaces up to this size are listed; larger ones are sampled."""


def draw(space: Space, rng: Random) -> Candidate:
    """Draw one candidate uniformly."""
    return tuple(rng.randrange(size) for size in space.sizes)


def draw_distinct(
    space: Space, count: int, rng: Random, *, avoid: Collection[Candidate] = ()
) -> list[Candidate]:
    """Draw up to `count` different candidates uniformly, none of `avoid`."""
    if count <= 0:
        return []
    if space.size <= LIST_LIMIT:
        pool = [candidate for candidate in product(*map(range, space.sizes)) if candidate not in avoid]
        return rng.sample(pool, min(count, len(pool)))
    found: dict[Candidate, None] = {}
    for _ in range(20 * count):
        candidate = draw(space, rng)
        if candidate not in avoid:
            found[candidate] = None
            if len(found) == count:
                break
    return list(found)
