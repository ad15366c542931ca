"""Records and programs under the names that users of DSPy import them from."""

from mipro import example
from mipro._paths import lend
from mipro.example import Completions, Example, Prediction
from mipro.modules import Module, _module
from mipro.modules._module import BaseModule

__all__ = ["BaseModule", "Completions", "Example", "Module", "Prediction"]

__path__ = lend(
    __name__, assertions=None, base_module=_module, example=example, module=_module, prediction=example
)
