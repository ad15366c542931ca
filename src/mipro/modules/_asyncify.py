"""`asyncify` and `syncify`: a sync program awaited, an async program called."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from types import MethodType
from typing import TYPE_CHECKING, Any

from mipro.context import settings
from mipro.lm._threads import in_thread
from mipro.modules._module import Module
from mipro.modules._trace import own_trace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def asyncify(program: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return an async function that runs `program` in a thread, under the caller's settings.

    At most `settings.async_max_workers` run at a time; those that run inside of others are counted apart.

    Args:
        program: A module or any function.

    Example:
        >>> import asyncio
        >>> asyncio.run(asyncify(lambda x: x + 1)(2))
        3
    """

    async def call(*args: Any, **kwargs: Any) -> Any:
        with own_trace():
            run = functools.partial(program, *args, **kwargs)
            return await in_thread(run, workers=settings.async_max_workers)

    return call


def syncify(program: Module, in_place: bool = True) -> Module:
    """Return an async program with a `forward` that waits for its `aforward`.

    Args:
        program: A module that defines `aforward`.
        in_place: Whether `program` itself gets the `forward`, or a module around it.
    """
    if not in_place:
        return _Waiting(program)
    # A method, which a copy of the program binds to itself; a plain function would go on asking this one.
    program.forward = MethodType(_forward, program)  # type: ignore[method-assign] # what in_place asks for
    return program


def _forward(program: Module, *args: Any, **kwargs: Any) -> Any:
    return _wait(program.aforward(*args, **kwargs))


class _Waiting(Module):
    """Calls an async program and waits."""

    def __init__(self, program: Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the program."""
        return _wait(self.program.aforward(*args, **kwargs))


def _wait(coroutine: Any) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    # A loop runs in this thread and can't be entered twice: wait in another thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, coroutine).result()
