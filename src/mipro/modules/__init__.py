"""Modules: predictors, what is built of them, and how programs are run and kept."""

from mipro.adapters import Tool
from mipro.modules._asyncify import asyncify, syncify
from mipro.modules._best_of_n import BestOfN
from mipro.modules._chain_of_thought import ChainOfThought
from mipro.modules._comparison import MultiChainComparison
from mipro.modules._majority import majority
from mipro.modules._module import Module
from mipro.modules._parallel import Parallel
from mipro.modules._predict import Predict
from mipro.modules._react import ReAct
from mipro.modules._retrieve import Retrieve
from mipro.modules._tree import Parameter

__all__ = [
    "BestOfN",
    "ChainOfThought",
    "Module",
    "MultiChainComparison",
    "Parallel",
    "Parameter",
    "Predict",
    "ReAct",
    "Retrieve",
    "Tool",
    "asyncify",
    "majority",
    "syncify",
]
