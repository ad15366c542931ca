"""The one event loop that all input and output of the package runs on.

Programs run in the caller's threads or tasks; their calls to models meet on one
loop in one background thread. So there is one implementation for sync and async,
one connection pool for all threads, and a run's gate needs no locks.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import os
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

CLOSE_TIMEOUT_S = 5.0  # leaving the process never takes longer because of us
_log = logging.getLogger("mipro")


class _Inbox:
    """Hands coroutines to a loop, as many at once as have gathered.

    To wake a loop from another thread is a system call, during which Python may turn to yet
    another thread: with a hundred threads it costs more than all else about a call. So the loop
    is woken for the first coroutine only, and finds those that came meanwhile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[Coroutine[Any, Any, Any], Future[Any], contextvars.Context]] = deque()
        self._is_woken = False

    def put(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        future: Future[T] = Future()
        self._waiting.append((coroutine, future, contextvars.copy_context()))
        if not self._is_woken:
            self._is_woken = True
            try:
                self.loop.call_soon_threadsafe(self._begin_all)
            except RuntimeError:  # the process is ending and the loop is closed
                self._is_woken = False
                self._waiting.clear()
                coroutine.close()
                raise
        return future

    def _begin_all(self) -> None:
        # First, so that what comes from now on wakes the loop again.
        self._is_woken = False
        while self._waiting:
            coroutine, future, context = self._waiting.popleft()
            if not future.cancelled():
                context.run(self._begin, coroutine, future)
            else:
                coroutine.close()

    def _begin(self, coroutine: Coroutine[Any, Any, Any], future: Future[Any]) -> None:
        task = self.loop.create_task(coroutine)
        task.add_done_callback(lambda done: _hand_over(done, future))
        future.add_done_callback(lambda done: self._cancel(done, task))

    def _cancel(self, future: Future[Any], task: asyncio.Task[Any]) -> None:
        if future.cancelled() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(task.cancel)


def _hand_over(task: asyncio.Task[Any], future: Future[Any]) -> None:
    """Give a task's outcome to those who wait for the future, if they still do."""
    if task.cancelled():
        future.cancel()
        future.set_running_or_notify_cancel()
        return
    error = task.exception()
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


_lock = threading.Lock()
_inbox: _Inbox | None = None
_thread: threading.Thread | None = None
_owner_pid = 0
_closers: list[Callable[[], Awaitable[None]]] = []


def io_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, starting its daemon thread on first use.

    A forked child gets a loop of its own, since threads do not survive a fork.
    """
    return _open_inbox().loop


def _open_inbox() -> _Inbox:
    global _inbox, _thread, _owner_pid  # noqa: PLW0603 - the one place that owns them
    if _inbox is not None and _owner_pid == os.getpid():
        return _inbox
    with _lock:
        if _inbox is None or _owner_pid != os.getpid():
            if _owner_pid == 0:
                atexit.register(_close)
            _closers.clear()
            loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_serve, args=(loop,), name="mipro-io", daemon=True)
            _thread.start()
            _inbox, _owner_pid = _Inbox(loop), os.getpid()
        return _inbox


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped.

    A `sys.exit` in a model's own code ends `run_forever`, though the task has the exception for who waits.
    """
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue
        return


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run `coroutine` on the I/O loop; wait with `.result()` or `asyncio.wrap_future`.

    The coroutine sees the settings (`context.py`) of the caller.
    """
    return _open_inbox().put(coroutine)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the I/O loop and wait; cancels it when the wait is interrupted.

    Raises:
        UserError: Called on the I/O loop itself, where waiting would never end.
    """
    inbox = _open_inbox()
    if threading.current_thread() is _thread:
        coroutine.close()
        raise UserError(
            "A blocking call to a model must not be made from a coroutine that runs on mipro's own loop, "
            "but this one was; use `await lm.acall(...)` there."
        )
    future = inbox.put(coroutine)
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
    loop, thread = None if _inbox is None else _inbox.loop, _thread
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
