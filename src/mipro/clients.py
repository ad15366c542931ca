"""Language models under the names that users of DSPy import them from."""

from mipro._paths import lend
from mipro.lm import LM, BaseLM, _base, _cache, _lm, configure_cache, inspect_history

__all__ = ["LM", "BaseLM", "configure_cache", "inspect_history"]

__path__ = lend(__name__, base_lm=_base, cache=_cache, lm=_lm)
