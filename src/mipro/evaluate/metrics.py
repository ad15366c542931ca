"""The metrics that compare texts, under the name that DSPy users import them from."""

from __future__ import annotations

from mipro._normal import normalize_text
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

__all__ = [
    "EM",
    "F1",
    "HotPotF1",
    "answer_exact_match",
    "answer_passage_match",
    "em_score",
    "f1_score",
    "hotpot_f1_score",
    "normalize_text",
    "precision_score",
    "recall_score",
]
