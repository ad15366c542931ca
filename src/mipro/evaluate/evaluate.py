"""`Evaluate`, under the name that DSPy users import it from."""

from __future__ import annotations

from mipro.evaluate._evaluate import Evaluate, EvaluationResult

__all__ = ["Evaluate", "EvaluationResult"]
