"""`dsp.utils`, where older programs for DSPy import from."""

import importlib

from mipro import utils
from mipro._paths import lend

# Not `from mipro import context`, which is the function of that name.
_settings = importlib.import_module("mipro.context")

__path__ = lend(__name__, utils=utils)
lend(f"{__name__}.utils", settings=_settings, utils=utils)
