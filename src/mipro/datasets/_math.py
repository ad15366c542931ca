"""MATH: problems of mathematics competitions."""

from __future__ import annotations

import importlib
import importlib.util
import re
from random import Random
from typing import TYPE_CHECKING, Any

from mipro.datasets._readers import load_from_hub, read_json_records
from mipro.errors import UserError
from mipro.example import Example

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

MAX_SIZE = 350
"""Of how many problems train and dev are at most; a third of all where there are fewer."""

_EQUIVALENCE = "math_equivalence"


class MATH:
    """One subject of MATH from the hub or from a local copy, with the examples that DSPy draws.

    All splits are cut from the official test split, as models were trained on the other.

    Args:
        subset: The subject, for example "algebra".
        path: A JSON or JSON-lines file of problems instead of the hub.

    Attributes:
        train: Examples with the input `question`, and `reasoning` and `answer`, None where the
            solution has no box.
        dev: As many others.
        test: All that are left.

    Raises:
        UserError: The local copy is not what it must be.
        MissingExtraError: The hub is needed and the extra `hf` is not installed.
        DownloadError: The hub did not deliver.

    References:
        Hendrycks et al., 2021, arXiv:2103.03874.
    """

    def __init__(self, subset: str, path: str | os.PathLike[str] | None = None) -> None:
        rows = (
            load_from_hub("DigitalLearningGmbH/MATH-lighteval", subset, split="test")
            if path is None
            else read_json_records(path)
        )
        examples = [_example(row) for row in rows]
        size = min(MAX_SIZE, len(examples) // 3)
        Random(0).shuffle(examples)  # noqa: S311 - no secret
        self.train, self.dev, self.test = examples[:size], examples[size : 2 * size], examples[2 * size :]

    @property
    def metric(self) -> Callable[..., bool]:
        """`metric(example, prediction)`, by the authors' own comparison of formulas.

        Raises:
            UserError: Their package is not installed.
        """
        if importlib.util.find_spec(_EQUIVALENCE) is None:
            raise UserError(
                f"the metric of MATH needs the authors' module `{_EQUIVALENCE}`, which is not installed; run "
                "`pip install git+https://github.com/hendrycks/math.git`, or write a metric of your own."
            )
        return _is_equivalent


def extract_answer(solution: str) -> str | None:
    r"""Return what the first box of a solution holds, or None where it has none.

    Example:
        >>> extract_answer(r"So $x = \boxed{\frac{1}{2}}$.")
        '\\frac{1}{2}'
    """
    _, box, rest = solution.partition("\\boxed{")
    if not box:
        return None
    depth = 1
    end = len(rest)
    for index, char in enumerate(rest):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            end = index
            break
    return re.sub(r"\\text\{[^}]*\}|\\!", "", rest[:end]).strip()


def _is_equivalent(example: Example, pred: Any, trace: Any = None) -> bool:
    del trace
    return bool(importlib.import_module(_EQUIVALENCE).is_equiv(example.answer, pred.answer))


def _example(row: Mapping[str, Any]) -> Example:
    try:
        question, solution = row["problem"], str(row["solution"])
    except KeyError as error:
        raise UserError(
            f"a problem of MATH must have the fields `problem` and `solution`, but got {sorted(row)}."
        ) from error
    fields = {"question": question, "reasoning": solution, "answer": extract_answer(solution)}
    return Example(fields).with_inputs("question")
