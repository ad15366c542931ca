"""Rebuilding a model from a saved state."""

from __future__ import annotations

import pkgutil
from typing import Any

from mipro.errors import StateError
from mipro.lm._base import LM_CLASS_STATE_KEY, BaseLM
from mipro.lm._lm import LM
from mipro.lm._secrets import public

_BUILT_IN = f"{LM.__module__}.{LM.__qualname__}"
# States that DSPy wrote name its own class; ours takes its place.
_OF_DSPY = ("_dspy_lm_class", "dspy.clients.lm.LM")


def rebuild(kind: type[BaseLM], state: dict[str, Any], *, allow_custom: bool) -> BaseLM:
    """Return the model that `state` describes.

    Args:
        kind: The class that was asked; `BaseLM` lets the state choose.
        state: What `dump_state` returned; not modified.
        allow_custom: Whether a class named in the state may be imported.

    Raises:
        StateError: The class is another one and may not be imported, or can't be; or it can't be made
            of the other values.
    """
    values = dict(state)
    path = values.pop(LM_CLASS_STATE_KEY, None)
    old_path = values.pop(_OF_DSPY[0], None)
    if old_path is not None:
        path = _BUILT_IN if old_path == _OF_DSPY[1] else old_path
    if kind is not BaseLM:
        return _made(kind, values)
    if path is None or path == _BUILT_IN:
        return _made(LM, values)
    if not allow_custom:
        raise StateError(
            f"Refusing to import custom serialized LM class `{path}`, since that runs its code. If you trust "
            "whoever wrote the file, pass `allow_custom_lm_class=True` (`allow_unsafe_lm_state=True` of "
            "`Module.load`)."
        )
    return _made(_imported(path), values)


def _made(kind: type[BaseLM], values: dict[str, Any]) -> BaseLM:
    try:
        return kind(**values)
    except TypeError as error:
        raise StateError(
            f"the state of a model must hold the arguments of `{kind.__name__}`, `model` at least, but got "
            f"{public(values)!r}: {error}."
        ) from error


def _imported(path: str) -> type[BaseLM]:
    try:
        found = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise StateError(f"The class `{path}` of the saved model can't be imported: {error}.") from error
    if not (isinstance(found, type) and issubclass(found, BaseLM)):
        raise StateError(f"The class `{path}` of the saved model must be a subclass of `BaseLM`.")
    return found
