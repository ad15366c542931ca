"""What can be said about the data before anything is spent."""

from __future__ import annotations

import itertools
import math
import numbers
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Any

from mipro.optimize._traces import every_predictor, shows
from mipro.runs import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Example
    from mipro.modules import Module

_MISSING = ("NaTType", "NAType")
"""Types of pandas, which is not imported for them."""

_LEAST_DIFFERENT = 0.9
"""Share of a data set's inputs, below which an interval is too narrow to pass over it."""


def without_shared(examples: Sequence[Example], *others: Sequence[Example]) -> tuple[Example, ...]:
    """Return the examples whose inputs none of the other data sets has, blanks and accents aside."""
    seen = {_alike(e) for other in others for e in other}
    return tuple(e for e in examples if _alike(e) not in seen)


def num_inputs(examples: Sequence[Example]) -> int:
    """Return how many different inputs the examples have."""
    return len(set(map(_inputs, examples)))


def check_inputs(**sets: Sequence[Example]) -> tuple[str, ...]:
    """Return a warning for every two data sets that share inputs, and for those that repeat their own.

    Shared inputs would make an estimate too good: a demo may give the answer away. Repeated ones, of more
    than a tenth of what is measured, are no new evidence, while an interval counts them as such. Texts
    that differ in blanks, or in how an accent is written, are taken for the same.
    """
    inputs = {name: set(map(_alike, examples)) for name, examples in sets.items()}
    warnings = []
    for first, second in itertools.combinations(inputs, 2):
        shared = len(inputs[first] & inputs[second])
        if shared:
            harm = (
                "no demo is made of them"
                if first == "trainset"
                else "the score that is expected may be too good"
            )
            warnings.append(f"{shared} inputs are in both `{first}` and `{second}`; {harm}.")
    for name, different in inputs.items():
        if name != "trainset" and len(different) < _LEAST_DIFFERENT * len(sets[name]):
            warnings.append(
                f"`{name}` has {len(sets[name])} examples, but only {len(different)} different inputs; the "
                "interval of its score is too narrow."
            )
    return tuple(warnings)


def check_missing(program: Module, **sets: Sequence[Example]) -> tuple[str, ...]:
    """Return a warning for every data set in which values are missing that a prompt or a score needs."""
    outputs = {name for predictor in every_predictor(program) for name in predictor.signature.output_fields}
    warnings = []
    for name, examples in sets.items():
        fields = Counter(
            field
            for example in examples
            for field, value in example.items()
            if is_missing(value) and (field in outputs or field in example.inputs())
        )
        if fields:
            counts = ", ".join(f"{count} in `{field}`" for field, count in fields.items())
            warnings.append(
                f"`{name}` has values that are missing (NaN): {counts}; a prompt shows them as such, and no "
                "answer equals them. Leave such rows out, as `dropna` of a table does, or fill them."
            )
    return tuple(warnings)


def is_missing(value: Any) -> bool:
    """Whether a value is what tables have in the place of one that is missing: NaN, NaT or NA of pandas."""
    if isinstance(value, numbers.Real):
        return not isinstance(value, numbers.Rational) and math.isnan(value)  # an int may be beyond floats
    return type(value).__name__ in _MISSING


def check_own_demos(program: Module, **sets: Sequence[Example]) -> tuple[str, ...]:
    """Return a warning for every data set with examples that the program came with as demos."""
    demos = [demo for predictor in every_predictor(program) for demo in predictor.demos]
    warnings = []
    for name, examples in sets.items():
        shown = sum(any(shows(demo, example) for demo in demos) for example in examples)
        if shown:
            warnings.append(
                f"the program came with demos of {shown} examples of `{name}`; its score on them is too good."
            )
    return tuple(warnings)


def _inputs(example: Example) -> str:
    return canonical(dict(example.inputs()))


def _alike(example: Example) -> str:
    inputs = {
        name: unicodedata.normalize("NFC", " ".join(value.split())) if isinstance(value, str) else value
        for name, value in example.inputs().items()
    }
    return canonical(inputs)
