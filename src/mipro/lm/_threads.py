"""Threads for blocking calls that are awaited."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# By process, number of threads and depth. The threads of a parent do not survive a fork.
_pools: dict[tuple[int, int, int], ThreadPoolExecutor] = {}
_depth: ContextVar[int] = ContextVar("mipro_thread_depth", default=0)
"""How many calls in such threads a call is made inside of."""


async def in_thread(call: Callable[[], T], *, workers: int) -> T:
    """Run a blocking function in a thread, under the settings of the caller.

    What it calls may come here again. Such calls have threads of their own: were the last one taken by
    those who wait for them, all would wait for ever.

    Args:
        call: The function.
        workers: How many run at a time at most, at each depth of calls inside of others.

    Raises:
        RuntimeError: It raised StopIteration, which no future can hold: its caller would wait for ever.
    """

    def run() -> T:
        try:
            return call()
        except StopIteration as error:  # as of a coroutine, PEP 479
            raise RuntimeError("a blocking call raised StopIteration") from error

    depth = _depth.get()
    key = (os.getpid(), workers, depth)
    if key not in _pools:
        _pools.setdefault(key, ThreadPoolExecutor(workers, thread_name_prefix="mipro-blocking"))
    inside = copy_context()
    inside.run(_depth.set, depth + 1)
    return await asyncio.get_running_loop().run_in_executor(_pools[key], inside.run, run)
