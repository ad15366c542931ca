"""From a candidate, a tuple of indices, to a program that can be run, and the order of the examples."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mipro.runs import canonical
from mipro.search import Space

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from mipro.example import Example
    from mipro.modules import Module
    from mipro.optimize._demo_sets import DemoSets
    from mipro.propose import Proposals

PROGRAMS_KEPT = 64
"""Candidate programs kept built at a time; a dropped one is built again in microseconds."""


class CandidateSpace:
    """All combinations of proposed instructions and demo sets for one program.

    Args:
        student: The program as it came; not modified.
        proposals: Instructions by predictor, the original first.
        demo_sets: Demo sets by predictor, the original first.

    Attributes:
        proposals: The instructions, those of later rounds included.
        demo_sets: The demo sets, those of later rounds included.
        space: The numbers of choices; grows with them.
    """

    def __init__(self, student: Module, proposals: Proposals, demo_sets: DemoSets) -> None:
        self._student = student
        self.proposals = proposals
        self.demo_sets = demo_sets
        self.space = Space(self._sizes())
        self.program = lru_cache(maxsize=PROGRAMS_KEPT)(self.build)
        # Making a signature is what building a program costs, and there are few of them.
        self._signature = lru_cache(maxsize=None)(self._make_signature)

    def grow(self, proposals: Proposals, demo_sets: DemoSets) -> None:
        """Take new choices on; those that are there already stay where they are."""
        self.proposals, self.demo_sets = proposals, demo_sets
        for (name, size), known in zip(self._sizes().items(), self.space.sizes, strict=True):
            if size > known:
                self.space.add(name, size - known)

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for p, (texts, sets) in enumerate(zip(self.proposals.instructions, self.demo_sets.sets, strict=True)):
            sizes[f"{p}.instruction"] = len(texts)
            sizes[f"{p}.demos"] = len(sets)
        return sizes

    def _make_signature(self, p: int, text: str) -> Any:
        return self._student.predictors()[p].signature.with_instructions(text)

    def build(self, candidate: tuple[int, ...]) -> Module:
        """Return a copy of the student with the candidate's instructions and demos."""
        program = self._student.deepcopy()
        for p, predictor in enumerate(program.predictors()):
            instruction, demos = candidate[2 * p], candidate[2 * p + 1]
            predictor.signature = self._signature(p, self.proposals.instructions[p][instruction])
            predictor.demos = list(self.demo_sets.sets[p][demos])
        return program


def stratified_order(examples: Sequence[Example], rng: Random) -> tuple[int, ...]:
    """Return the examples' indices so that every prefix has about the class balance of all.

    Examples are grouped by their labels, shuffled within a group, and groups are merged in
    proportion to their size. Where labels hardly repeat, this is a plain shuffle.
    """
    groups: dict[str, list[int]] = {}
    for index in rng.sample(range(len(examples)), len(examples)):
        groups.setdefault(canonical(dict(examples[index].labels())), []).append(index)
    placed = []
    for members in groups.values():
        # A random offset, or the first of every group would come before the second of any.
        offset = rng.random()
        placed += [((rank + offset) / len(members), index) for rank, index in enumerate(members)]
    return tuple(index for _, index in sorted(placed))
