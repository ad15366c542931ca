"""Optimizers: programs in, better programs out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mipro.optimize._bootstrap import BootstrapFewShot
    from mipro.optimize._estimate import Estimate, Range, StageEstimate
    from mipro.optimize._labeled import LabeledFewShot
    from mipro.optimize._miprov2 import MIPROv2
    from mipro.optimize._progress import Bars, Progress
    from mipro.optimize._random_search import BootstrapFewShotWithRandomSearch
    from mipro.optimize._result import OptimizationResult, TestScores, TrialRecord
    from mipro.optimize._teleprompter import Teleprompter

__all__ = [
    "Bars",
    "BootstrapFewShot",
    "BootstrapFewShotWithRandomSearch",
    "Estimate",
    "LabeledFewShot",
    "MIPROv2",
    "OptimizationResult",
    "Progress",
    "Range",
    "StageEstimate",
    "Teleprompter",
    "TestScores",
    "TrialRecord",
]

_FILES = {
    "Bars": "_progress",
    "BootstrapFewShot": "_bootstrap",
    "BootstrapFewShotWithRandomSearch": "_random_search",
    "Estimate": "_estimate",
    "LabeledFewShot": "_labeled",
    "MIPROv2": "_miprov2",
    "OptimizationResult": "_result",
    "Progress": "_progress",
    "Range": "_estimate",
    "StageEstimate": "_estimate",
    "Teleprompter": "_teleprompter",
    "TestScores": "_result",
    "TrialRecord": "_result",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'mipro.optimize' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mipro.optimize.{_FILES[name]}"), name)
    globals()[name] = value
    return value
