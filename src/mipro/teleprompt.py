"""The optimizers under the name that users of DSPy import them from."""

from mipro.optimize import (
    BootstrapFewShot,
    BootstrapFewShotWithRandomSearch,
    LabeledFewShot,
    MIPROv2,
    Teleprompter,
)

__all__ = [
    "BootstrapFewShot",
    "BootstrapFewShotWithRandomSearch",
    "LabeledFewShot",
    "MIPROv2",
    "Teleprompter",
]
