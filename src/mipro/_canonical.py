"""Text that is the same for equal values, in every process, and another one for others."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_Row = TypeVar("_Row", bound=Any)
_MARK = "("
"""Begins the text of a key that is no text: `{1: ...}` and `{"1": ...}` are not the same."""


def canonical(value: Any) -> str:
    """Return JSON that is the same for equal values, whatever the order of their keys."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """Return the SHA-256 of `canonical(value)`, hex."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def distinct(rows: Iterable[_Row]) -> list[_Row]:
    """Return the rows without those that are equal to one before them."""
    unlike: dict[str, _Row] = {}
    for row in rows:
        unlike.setdefault(canonical(dict(row)), row)
    return list(unlike.values())


def _plain(value: Any) -> Any:
    """Return a value made of nothing but what JSON has."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(canonical, value))
    return _plain_object(value)


def _key(key: Any) -> str:
    if isinstance(key, str) and not key.startswith(_MARK):
        return key
    return f"{_MARK}{type(key).__qualname__}){canonical(key)}"


def _plain_object(value: Any) -> Any:
    if not isinstance(value, type):
        if hasattr(value, "toDict"):  # first: an example may have a field `model_dump`
            return _plain(value.toDict())
        if hasattr(value, "model_dump"):
            from mipro.adapters._values import sort_sets  # noqa: PLC0415 - only for what JSON can't hold

            plain = value.model_dump(mode="json")
            sort_sets(value, plain)
            return _plain(plain)
        if is_array(value) and (array := _array(value)) is not None:
            return array
    return f"{type(value).__qualname__}:{value}"


def is_array(value: Any) -> bool:
    """Whether a value is an array, a table or a tensor, as far as numpy knows."""
    return hasattr(value, "__array__") and not isinstance(value, type)


def _array(value: Any) -> Any:
    """Return what tells an array, a table or a tensor from others; its text leaves most numbers out.

    Returns:
        None where it is a single number, whose text says all, or where numpy can't read it.
    """
    import numpy as np  # noqa: PLC0415 - loaded already where there are arrays

    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor on another device
        return None
    if not array.shape:
        return None
    held = array.tolist() if array.dtype.hasobject else hashlib.sha256(array.tobytes()).hexdigest()
    # The text of a table has the names of its columns.
    text = "" if isinstance(value, np.ndarray) else str(value)
    return [type(value).__qualname__, text, str(array.dtype), list(array.shape), _plain(held)]
