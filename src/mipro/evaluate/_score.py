"""What a metric may return, brought to one form."""

from __future__ import annotations

import inspect
import math
import numbers
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mipro._takes import takes
from mipro.errors import UserError


@dataclass(frozen=True, slots=True)
class ScoreWithFeedback:
    """A score with a word on why, which instruction proposals may be grounded on."""

    score: float
    """Higher is better."""
    feedback: str = ""
    """What was good or wrong, for a model to read."""

    def __float__(self) -> float:
        return float(self.score)


@runtime_checkable
class Metric(Protocol):
    """A function that says how good a prediction is for an example.

    It is called from several threads at once and must not change its arguments. While
    demos are bootstrapped it gets `trace`, the list of (predictor, inputs, prediction)
    of the run, in the order in which the calls began, and may be stricter then; otherwise,
    and where the function takes two arguments only, `trace` is left out.
    """

    def __call__(self, example: Any, prediction: Any, /) -> Any:
        """Return a bool, a number, a `ScoreWithFeedback`, or a `Prediction(score=, feedback=)`."""


def check_metric(metric: Any) -> None:
    """Refuse what can't be called with an example and a prediction.

    Raises:
        UserError: `metric` is no such function.
    """
    if not callable(metric):
        raise UserError(f"`metric` must be a function of (example, prediction), but got {metric!r}.")
    if isinstance(metric, type) and any("__call__" in vars(kind) for kind in metric.__mro__):
        raise UserError(
            f"`metric` must be a function of (example, prediction), but got the class {metric.__name__}, "
            f"whose objects are such functions; pass one, for example {metric.__name__}()."
        )
    if not takes(metric, 2):
        taken = ", ".join(inspect.signature(metric, follow_wrapped=False).parameters)
        raise UserError(
            "`metric` must be a function of (example, prediction, trace=None), but "
            f"{getattr(metric, '__name__', type(metric).__name__)} takes ({taken}) and can't be called with "
            "two arguments."
        )


def score_of(value: Any) -> tuple[float, str]:
    """Return score and feedback of what a metric returned.

    Args:
        value: A bool or number, or an object with `score` and perhaps `feedback`.

    Returns:
        The score as a finite float, and the feedback or "".

    Raises:
        UserError: `value` is none of these; the message names what it is.

    Example:
        >>> score_of(True), score_of(ScoreWithFeedback(0.5, "too long"))
        ((1.0, ''), (0.5, 'too long'))
    """
    feedback = ""
    number = value
    if not isinstance(value, numbers.Real):
        number = getattr(value, "score", value)
        feedback = str(getattr(value, "feedback", None) or "")
    try:
        # float() would also take a text such as "0.5", and "nan".
        score = math.nan if isinstance(number, (str, bytes)) else float(number)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        hint = "; check that every path of the metric returns" if value is None else ""
        raise UserError(
            "a metric must return a bool, a finite number, a ScoreWithFeedback or a Prediction with `score`, "
            f"but got {type(value).__name__}: {value!r}{hint}."
        )
    return score, feedback
