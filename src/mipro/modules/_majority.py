"""`majority`: the completion that most agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipro._normal import normalize_text
from mipro.errors import UserError
from mipro.example import Completions, Prediction

if TYPE_CHECKING:
    from collections.abc import Callable


def default_normalize(text: Any) -> str | None:
    """Return `text` as metrics compare it: without case, punctuation and articles; None for nothing."""
    return normalize_text(str(text)) or None


def majority(
    prediction_or_completions: Any,
    normalize: Callable[[Any], Any] | None = default_normalize,
    field: str | None = None,
) -> Prediction:
    """Return the completion whose field has the commonest value; the earliest of equals.

    Args:
        prediction_or_completions: A `Prediction`, `Completions` or a list of them.
        normalize: What makes values comparable; a value for which it returns None does
            not count. None compares them as they are.
        field: Which field; by default the last output field.

    Raises:
        UserError: There is nothing to choose from.
    """
    completions = prediction_or_completions
    if isinstance(completions, Prediction):
        completions = completions.completions
    if not isinstance(completions, (Completions, list)) or not len(completions):
        raise UserError(
            f"`majority` needs completions to choose from, but got {prediction_or_completions!r}; "
            "ask for several, for example `Predict(signature, n=5)`."
        )
    signature = getattr(completions, "signature", None)
    if field is None:
        field = list(signature.output_fields if signature else completions[0].keys())[-1]
    candidates = [completions[index] for index in range(len(completions))]
    values = [normalize(c[field]) if normalize else c[field] for c in candidates]
    counted = [value for value in values if value is not None] or values
    winner = max(counted, key=counted.count)
    chosen = candidates[values.index(winner)]
    return Prediction.from_completions([dict(chosen.items())], signature=signature)
