"""The metrics that ask a model, under the name that DSPy users import them from."""

from __future__ import annotations

from mipro.evaluate._judges import (
    AnswerCompleteness,
    AnswerGroundedness,
    CompleteAndGrounded,
    DecompositionalSemanticRecallPrecision,
    SemanticF1,
    SemanticRecallPrecision,
)

__all__ = [
    "AnswerCompleteness",
    "AnswerGroundedness",
    "CompleteAndGrounded",
    "DecompositionalSemanticRecallPrecision",
    "SemanticF1",
    "SemanticRecallPrecision",
]
