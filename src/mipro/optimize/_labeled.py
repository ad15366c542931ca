"""`LabeledFewShot`: demos straight from the training data."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from mipro.errors import UserError
from mipro.optimize._checks import check_program, check_whole, listed
from mipro.optimize._result import detached
from mipro.optimize._teleprompter import Program, Teleprompter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Example

_SEED = 0  # DSPy's; the same data give the same demos there and here


class LabeledFewShot(Teleprompter):
    """Gives every predictor up to `k` training examples as demos.

    Args:
        k: Demos per predictor.

    Raises:
        UserError: `k` is no whole number of at least 0.

    Example:
        >>> LabeledFewShot(k=8).compile(program, trainset=trainset)  # doctest: +SKIP
    """

    def __init__(self, k: int = 16) -> None:
        super().__init__()
        check_whole(0, k=k)
        self.k = k

    def compile(  # type: ignore[override] # DSPy's call form is narrower than the base's
        self, student: Program, *, trainset: Sequence[Example], sample: bool = True
    ) -> Program:
        """Return a copy of `student` with labelled demos; `student` stays as it is.

        Args:
            student: Program to give demos to.
            trainset: Labelled examples; none leaves the demos empty.
            sample: Whether to draw the demos; else the first `k` are taken.

        Raises:
            UserError: `student` is no program, or `trainset` no list of examples.
        """
        check_program("student", student)
        rows = listed("trainset", trainset)
        if wrong := [row for row in rows if not hasattr(row, "keys")]:
            raise UserError(
                f"every example of `trainset` must be a `mipro.Example`, but got {wrong[0]!r}; "
                "use `mipro.Example(name=value, ...)`."
            )
        compiled = detached(student.reset_copy())
        size = min(self.k, len(rows))
        rng = random.Random(_SEED)  # noqa: S311 - not for secrets
        for predictor in compiled.predictors():
            predictor.demos = rng.sample(rows, size) if sample else rows[:size]
        return compiled
