"""The optimizers under the names that users of DSPy import them from."""

from mipro._paths import lend
from mipro.evaluate import _score
from mipro.optimize import (
    BootstrapFewShot,
    BootstrapFewShotWithRandomSearch,
    LabeledFewShot,
    MIPROv2,
    Teleprompter,
    _bootstrap,
    _labeled,
    _miprov2,
    _random_search,
    _teleprompter,
)

__all__ = [
    "BootstrapFewShot",
    "BootstrapFewShotWithRandomSearch",
    "LabeledFewShot",
    "MIPROv2",
    "Teleprompter",
]

__path__ = lend(
    __name__,
    bootstrap=_bootstrap,
    gepa=None,
    mipro_optimizer_v2=_miprov2,
    random_search=_random_search,
    teleprompt=_teleprompter,
    vanilla=_labeled,
)
# Metrics that serve GEPA too import what they return from there.
lend(f"{__name__}.gepa", gepa=None, gepa_utils=_score)
