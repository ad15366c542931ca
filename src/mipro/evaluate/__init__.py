"""Measuring programs: `Evaluate`, and the metrics of the field.

The metrics that ask a model are loaded on first use, since they are programs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mipro._names import absent
from mipro._normal import normalize_text
from mipro.evaluate._evaluate import Evaluate, EvaluationResult
from mipro.evaluate._metrics import (
    EM,
    F1,
    HotPotF1,
    answer_exact_match,
    answer_passage_match,
    em_score,
    f1_score,
    hotpot_f1_score,
    precision_score,
    recall_score,
)
from mipro.evaluate._outcome import Outcome, run_example
from mipro.evaluate._score import Metric, ScoreWithFeedback, score_of
from mipro.evaluate._threads import parallel_map

if TYPE_CHECKING:
    from mipro.evaluate._judges import CompleteAndGrounded, SemanticF1

__all__ = [
    "EM",
    "F1",
    "CompleteAndGrounded",
    "Evaluate",
    "EvaluationResult",
    "HotPotF1",
    "Metric",
    "Outcome",
    "ScoreWithFeedback",
    "SemanticF1",
    "answer_exact_match",
    "answer_passage_match",
    "em_score",
    "f1_score",
    "hotpot_f1_score",
    "normalize_text",
    "parallel_map",
    "precision_score",
    "recall_score",
    "run_example",
    "score_of",
]

# Metrics that are programs, and the modules that DSPy users know the names from.
_LAZY = {"CompleteAndGrounded": "_judges", "SemanticF1": "_judges"}
_MODULES = ("auto_evaluation", "metrics")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"mipro.evaluate.{_LAZY[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"mipro.evaluate.{name}")
    raise absent("mipro.evaluate", name)
