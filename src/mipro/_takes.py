"""Whether a function takes the arguments that it will be called with."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def takes(function: Callable[..., Any], count: int, *names: str) -> bool:
    """Whether a function can be called with so many arguments, and those by name, as far as it tells."""
    try:
        # A decorator may itself give what the function that it wraps takes more of.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # some written in C
        return True
    try:
        signature.bind(*[None] * count, **dict.fromkeys(names))
    except TypeError:
        return False
    return True
