"""The space of candidates: named variables with a number of choices each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from mipro._whole import is_whole
from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mipro.search._book import Ints

Candidate: TypeAlias = tuple[int, ...]
"""One choice index for each variable, in the order of the space; all zeros is the program as it came."""


class Space:
    """Variables and how many choices each has; choices may be added while a search runs.

    A variable is named `"<predictor>.<kind>"`, such as `"0.instruction"` or `"1.demos"`. The part before
    the last dot groups the variables that may interact, the part after it groups those whose effects are
    of one size; a name without a dot is a group and a kind of its own.

    Args:
        choices: Number of choices for each variable, each at least 1. Choice 0 is the program as it came.

    Raises:
        UserError: No variable, or a variable without a choice.

    Example:
        >>> space = Space({"0.instruction": 6, "0.demos": 12})
        >>> space.add("0.instruction")
        6
        >>> space.sizes
        (7, 12)
    """

    __slots__ = ("_choices",)

    def __init__(self, choices: Mapping[str, int]) -> None:
        if not choices:
            raise UserError("`choices` must name at least one variable, but got an empty mapping.")
        for name, count in choices.items():
            if not is_whole(count, 1):
                raise UserError(
                    f"`choices[{name!r}]` must be an int of at least 1, but got {count!r}; "
                    "leave a variable out that can't be chosen."
                )
        self._choices = dict(choices)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables; a candidate lists its choices in this order."""
        return tuple(self._choices)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of choices of each variable, in the order of `names`."""
        return tuple(self._choices.values())

    @property
    def original(self) -> Candidate:
        """The program as it came: choice 0 of every variable."""
        return (0,) * len(self._choices)

    @property
    def size(self) -> int:
        """Number of candidates."""
        return math.prod(self._choices.values())

    def add(self, name: str, count: int = 1) -> int:
        """Give a variable more choices.

        Args:
            name: A variable of this space.
            count: How many choices to add, at least 1.

        Returns:
            Index of the first new choice.

        Raises:
            UserError: Unknown variable or no choice to add.
        """
        if name not in self._choices:
            raise UserError(f"`name` must be one of {list(self._choices)}, but got {name!r}.")
        if not is_whole(count, 1):
            raise UserError(f"`count` must be an int of at least 1, but got {count!r}.")
        first = self._choices[name]
        self._choices[name] = first + count
        return first

    def __contains__(self, candidate: object) -> bool:
        """Whether a tuple of choice indices is a candidate of this space."""
        return (
            isinstance(candidate, tuple)
            and len(candidate) == len(self._choices)
            and all(is_whole(c, 0) and c < size for c, size in zip(candidate, self.sizes, strict=True))
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._choices)

    def __len__(self) -> int:
        return len(self._choices)

    def __repr__(self) -> str:
        return f"Space({self._choices!r})"


def candidate_of(row: Ints) -> Candidate:
    """Return a row of an array of candidates, `[variables]`, as a candidate."""
    return tuple(row.tolist())
