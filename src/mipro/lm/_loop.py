"""The one event loop that all input and output of the package runs on.

Programs run in the caller's threads or tasks; their calls to models meet on one
loop in one background thread. So there is one implementation for sync and async,
one connection pool for all threads, and a run's gate needs no locks.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")

CLOSE_TIMEOUT_S = 5.0  # leaving the process never takes longer because of us
_log = logging.getLogger("mipro")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_owner_pid = 0
_closers: list[Callable[[], Awaitable[None]]] = []


def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, starting its daemon thread on first use.

    A forked child gets a loop of its own, since threads do not survive a fork.
    """
    global _loop, _thread, _owner_pid  # noqa: PLW0603 - the one place that owns them
    if _loop is not None and _owner_pid == os.getpid():
        return _loop
    with _lock:
        if _loop is None or _owner_pid != os.getpid():
            if _owner_pid == 0:
                atexit.register(_close)
            _closers.clear()
            loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=loop.run_forever, name="mipro-io", daemon=True)
            _thread.start()
            _loop, _owner_pid = loop, os.getpid()
        return _loop


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `coroutine` on the I/O loop; wait with `.result()` or `asyncio.wrap_future`.

    The coroutine sees the settings (`context.py`) of the caller.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, io_loop())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the I/O loop and wait; cancels it when the wait is interrupted.

    Raises:
        UserError: Called on the I/O loop itself, where waiting would never end.
    """
    loop = io_loop()
    if threading.current_thread() is _thread:
        coroutine.close()
        raise UserError(
            "A blocking call to a model must not be made from a coroutine that runs on mipro's own loop, "
            "but this one was; use `await lm.acall(...)` there."
        )
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def at_close(closer: Callable[[], Awaitable[None]]) -> None:
    """Have `closer` awaited on the loop when the process ends; once, however often it is given."""
    if closer not in _closers:
        _closers.append(closer)


def _close() -> None:
    """Close what is open and stop the loop, so that nothing is left to warn about."""
    loop, thread = _loop, _thread
    if loop is None or thread is None or _owner_pid != os.getpid() or not thread.is_alive():
        return
    try:
        asyncio.run_coroutine_threadsafe(_wind_down(), loop).result(CLOSE_TIMEOUT_S)
    except Exception:  # noqa: BLE001 - the process is ending; there is nobody left to tell
        _log.debug("closing the I/O loop failed", exc_info=True)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(CLOSE_TIMEOUT_S)
    if not thread.is_alive():
        loop.close()


async def _wind_down() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    while _closers:
        await _closers.pop()()
    # Transports finish closing in the next turns of the loop.
    await asyncio.sleep(0.01)
