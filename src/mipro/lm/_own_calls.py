"""Call forms that a subclass of `BaseLM` has instead of its: only calls of `BaseLM` pass a run's gate."""

from __future__ import annotations

import contextlib
import functools
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mipro.context import passed_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_calls: ContextVar[list[None] | None] = ContextVar("mipro_lm_calls", default=None)
"""One entry for each call of `BaseLM` within a call form of a subclass's own; None outside of one."""


def watched(own: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call form that tells the runs under way when it has come to none of `BaseLM`'s.

    Args:
        own: `__call__` or `acall` of a subclass; one that only adds to that of its base comes to it.
    """
    if inspect.iscoroutinefunction(own):

        @functools.wraps(own)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with _watching():
                return await own(*args, **kwargs)

        return awaited

    @functools.wraps(own)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _watching():
            return own(*args, **kwargs)

    return called


def note_call() -> None:
    """Note that a call has come to `BaseLM`, or has been told of."""
    calls = _calls.get()
    if calls is not None:
        calls.append(None)


@contextlib.contextmanager
def _watching() -> Iterator[None]:
    calls: list[None] = []
    token = _calls.set(calls)
    try:
        yield
    finally:
        _calls.reset(token)
    note_call()
    if not calls:
        passed_by()
