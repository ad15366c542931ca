"""Predictors and what is built of them under the names that users of DSPy import them from."""

from mipro._paths import lend
from mipro.modules import (
    BestOfN,
    ChainOfThought,
    MultiChainComparison,
    Parallel,
    Parameter,
    Predict,
    ReAct,
    Tool,
    _best_of_n,
    _chain_of_thought,
    _comparison,
    _majority,
    _parallel,
    _predict,
    _react,
    _tree,
    majority,
)
from mipro.propose import Refine, _refine

__all__ = [
    "BestOfN",
    "ChainOfThought",
    "MultiChainComparison",
    "Parallel",
    "Parameter",
    "Predict",
    "ReAct",
    "Refine",
    "Tool",
    "majority",
]

__path__ = lend(
    __name__,
    aggregation=_majority,
    best_of_n=_best_of_n,
    chain_of_thought=_chain_of_thought,
    multi_chain_comparison=_comparison,
    parallel=_parallel,
    parameter=_tree,
    predict=_predict,
    react=_react,
    refine=_refine,
)
