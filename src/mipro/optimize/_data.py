"""What can be said about the data before anything is spent."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mipro.runs import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Example


def check_overlap(**sets: Sequence[Example]) -> tuple[str, ...]:
    """Return a warning for every two data sets that share inputs.

    Shared inputs make an estimate too good: a demo or a proposal may give the answer away.
    """
    inputs = {name: {canonical(dict(e.inputs())) for e in examples} for name, examples in sets.items()}
    warnings = []
    for first, second in itertools.combinations(inputs, 2):
        shared = len(inputs[first] & inputs[second])
        if shared:
            warnings.append(
                f"{shared} inputs are in both `{first}` and `{second}`; scores measured on them are too good."
            )
    return tuple(warnings)
