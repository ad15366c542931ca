"""Language models: `LM` by name, `BaseLM` for your own, and what was asked and answered."""

from mipro.lm._base import BaseLM
from mipro.lm._cache import ResponseCache, configure_cache, response_cache
from mipro.lm._history import inspect_history
from mipro.lm._lm import LM
from mipro.lm._loop import io_loop, run, submit
from mipro.lm._prices import Prices
from mipro.lm._retry import delay_s
from mipro.lm._types import Completion, LMRequest, LMResponse, Usage
from mipro.lm._usage import UsageTracker, track_usage

__all__ = [
    "LM",
    "BaseLM",
    "Completion",
    "LMRequest",
    "LMResponse",
    "Prices",
    "ResponseCache",
    "Usage",
    "UsageTracker",
    "configure_cache",
    "delay_s",
    "inspect_history",
    "io_loop",
    "response_cache",
    "run",
    "submit",
    "track_usage",
]
