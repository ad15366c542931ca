"""Doing the same for many items in threads, in order, stopping at once when told to."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

MAX_IDLE_POOLS = 4
"""Pools kept for the next call; nested calls need one each."""
SIGNAL_CHECK_S = 0.2
"""Seconds after which a waiting caller looks for Ctrl-C: the system may have given the
signal to another thread, which does not wake this one."""

_lock = threading.Lock()
# Idle pools by (process, number of threads): a forked child must not use its parent's.
_idle: dict[tuple[int, int], list[ThreadPoolExecutor]] = {}


def parallel_map(
    fn: Callable[[T], R],
    items: Sequence[T],
    *,
    num_threads: int | None,
    on_done: Callable[[int, R], None] | None = None,
) -> list[R]:
    """Return `[fn(item) for item in items]`, computed in threads.

    Each item runs in a copy of the caller's context, so that settings are those of the
    caller and what one item sets no other sees. One thread means the caller's own.

    Args:
        fn: Called once for each item, from several threads at once.
        items: The items; each is handed out once.
        num_threads: Items under way at once; the number of `settings.num_threads` if None.
        on_done: Called in the caller's thread with index and result, as results come.

    Returns:
        The results in the order of `items`.

    Raises:
        BaseException: The first that `fn` or `on_done` raised. No further item is begun;
            those under way are waited for, except after Ctrl-C in the caller's thread.
        UserError: `num_threads` is less than 1.
    """
    threads = min(_checked(num_threads), len(items))
    if threads <= 1:
        return _in_this_thread(fn, items, on_done)
    work = _Work(fn, items)
    pool = _borrow(threads)
    for _ in range(threads):
        pool.submit(work.drain)
    try:
        work.wait(threads, on_done)
    except KeyboardInterrupt:
        work.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        work.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    _give_back(pool, threads)
    if work.error is not None:
        raise work.error
    return [work.results[index] for index in range(len(items))]


def _checked(num_threads: int | None) -> int:
    if num_threads is None:
        from mipro.context import settings  # noqa: PLC0415 - read at the call, not at import

        num_threads = int(settings.num_threads)
    if num_threads < 1:
        raise UserError(f"`num_threads` must be at least 1, but got {num_threads!r}.")
    return num_threads


def _in_this_thread(
    fn: Callable[[T], R], items: Sequence[T], on_done: Callable[[int, R], None] | None
) -> list[R]:
    results = []
    for index, item in enumerate(items):
        results.append(contextvars.copy_context().run(fn, item))
        if on_done is not None:
            on_done(index, results[-1])
    return results


class _Work:
    """The items of one call; each thread takes the next until none is left."""

    def __init__(self, fn: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.results: dict[int, Any] = {}
        self.error: BaseException | None = None
        self._fn = fn
        self._context = contextvars.copy_context()
        self._pending = deque(enumerate(items))
        self._news: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def drain(self) -> None:
        """Do items until none is left, then report that this thread is through."""
        try:
            while True:
                try:
                    index, item = self._pending.popleft()
                except IndexError:
                    return
                self.results[index] = self._context.copy().run(self._fn, item)
                self._news.put(index)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.stop()
            if self.error is None:
                self.error = error
        finally:
            self._news.put(None)

    def wait(self, threads: int, on_done: Callable[[int, Any], None] | None) -> None:
        """Pass results on until all threads are through."""
        while threads:
            try:
                index = self._news.get(timeout=SIGNAL_CHECK_S)
            except queue.Empty:
                continue
            if index is None:
                threads -= 1
            elif on_done is not None:
                on_done(index, self.results[index])

    def stop(self) -> None:
        """Begin no further item."""
        self._pending.clear()


def _borrow(threads: int) -> ThreadPoolExecutor:
    with _lock:
        idle = _idle.get((os.getpid(), threads))
        if idle:
            return idle.pop()
    return ThreadPoolExecutor(threads, thread_name_prefix="mipro-worker")


def _give_back(pool: ThreadPoolExecutor, threads: int) -> None:
    with _lock:
        if sum(map(len, _idle.values())) < MAX_IDLE_POOLS:
            _idle.setdefault((os.getpid(), threads), []).append(pool)
            return
    pool.shutdown(wait=False)
