"""The one event loop that all input and output of the package runs on.

Programs run in the caller's threads or tasks; their calls to models meet on one
loop in one background thread. So there is one implementation for sync and async,
one connection pool for all threads, and a run's gate needs no locks.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner_pid = 0


def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, starting its daemon thread on first use.

    A forked child gets a loop of its own, since threads do not survive a fork.
    """
    global _loop, _owner_pid  # noqa: PLW0603 - the one place that owns them
    with _lock:
        if _loop is None or _owner_pid != os.getpid():
            _loop = asyncio.new_event_loop()
            _owner_pid = os.getpid()
            threading.Thread(target=_loop.run_forever, name="mipro-io", daemon=True).start()
        return _loop


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `coroutine` on the I/O loop; wait with `.result()` or `asyncio.wrap_future`."""
    return asyncio.run_coroutine_threadsafe(coroutine, io_loop())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the I/O loop and wait; cancels it when the wait is interrupted."""
    future = submit(coroutine)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
