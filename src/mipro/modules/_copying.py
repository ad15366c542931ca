"""Copying a program that may hold what can't be copied: locks, connections, clients."""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any

logger = logging.getLogger("mipro.modules")


def copy_as_deep_as_it_goes(value: Any, memo: dict[int, Any], where: str = "the program") -> Any:
    """Return a deep copy, in which parts that refuse to be copied are shared with the original.

    What is held in two places is one thing in the copy, too.

    Args:
        value: A program, or part of one.
        memo: Copies made already, by `id` of the original, as for `copy.deepcopy`; more are added.
        where: What the value is, for the log.
    """
    if id(value) in memo:
        return memo[id(value)]
    attempt = dict(memo)
    try:
        copied = copy.deepcopy(value, attempt)
    except Exception as error:  # noqa: BLE001 - attributes of the user's may refuse in any way
        logger.debug("copying %s part by part: %s", where, error)
        return _by_part(value, memo, where)
    # What the attempt has kept alive must live as long as the copies: their ids stand for it.
    kept = attempt.pop(id(attempt), [])
    memo.update(attempt)
    memo.setdefault(id(memo), []).extend(kept)
    return copied


def _by_part(value: Any, memo: dict[int, Any], where: str) -> Any:
    from mipro.modules._module import Module  # noqa: PLC0415 - a module copies itself by this

    copied: Any
    if isinstance(value, Module):
        kind = type(value)
        copied = memo[id(value)] = kind.__new__(kind)
        copied._set_defaults()  # noqa: SLF001 - in place of `__init__`
        for name, part in value.__getstate__().items():
            is_own_copier = isinstance(part, Module) and type(part).deepcopy is not Module.deepcopy
            if is_own_copier and id(part) not in memo:
                memo[id(part)] = part.deepcopy()
            named = f"attribute '{name}' of {kind.__name__}"
            setattr(copied, name, copy_as_deep_as_it_goes(part, memo, named))
    elif type(value) is dict:
        copied = memo[id(value)] = {}
        copied.update((key, copy_as_deep_as_it_goes(part, memo, where)) for key, part in value.items())
    elif type(value) in (list, tuple):
        copied = memo[id(value)] = type(value)(copy_as_deep_as_it_goes(part, memo, where) for part in value)
    else:
        copied = memo[id(value)] = _shallow(value, where)
    return copied


def _shallow(value: Any, where: str) -> Any:
    _tell(where)
    try:
        return copy.copy(value)
    except Exception as error:  # noqa: BLE001 - as above
        logger.debug("sharing %s: %s", where, error)
        return value


@functools.cache
def _tell(where: str) -> None:
    """Say once that something is shared, not once for every candidate."""
    logger.warning("%s can't be copied whole; copies of the program share it.", where)
