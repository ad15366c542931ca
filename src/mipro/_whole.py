"""Whether a value is a whole number, of whatever library."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def is_whole(value: Any, least: int) -> bool:
    """Whether `value` is a whole number of at least `least`: an int or one of numpy's, no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least
