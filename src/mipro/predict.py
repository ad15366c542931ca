"""Predictors and what is built of them under the names that users of DSPy import them from."""

from mipro._paths import lend
from mipro.modules import (
    ChainOfThought,
    Parallel,
    Parameter,
    Predict,
    ReAct,
    Tool,
    _chain_of_thought,
    _majority,
    _parallel,
    _predict,
    _react,
    _tree,
    majority,
)

__all__ = ["ChainOfThought", "Parallel", "Parameter", "Predict", "ReAct", "Tool", "majority"]

__path__ = lend(
    __name__,
    aggregation=_majority,
    chain_of_thought=_chain_of_thought,
    parallel=_parallel,
    parameter=_tree,
    predict=_predict,
    react=_react,
)
