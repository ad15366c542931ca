"""Doing the same for many items in threads, stopping at once when told to."""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from mipro._whole import is_whole
from mipro.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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
        UserError: `num_threads` is no whole number of at least 1.
    """
    threads = min(_checked(num_threads), len(items))
    if threads <= 1:
        return _in_this_thread(fn, items, on_done)
    work = _Work(fn, items)
    _carry_out(work, threads, on_done)
    return [work.results[index] for index in range(len(items))]


def parallel_grow(
    fn: Callable[[T], R],
    items: Iterable[T],
    *,
    num_threads: int | None,
    on_done: Callable[[T, R], Iterable[T]],
) -> None:
    """Do `items` and what `on_done` adds to them, without waiting for the slowest in between.

    Args:
        fn: As for `parallel_map`.
        items: The first items.
        num_threads: Items under way at once; the number of `settings.num_threads` if None.
        on_done: Called in the caller's thread with item and result, as results come; returns
            further items.

    Raises:
        BaseException: As for `parallel_map`.
        UserError: `num_threads` is no whole number of at least 1.
    """
    threads = _checked(num_threads)
    todo = list(items)
    if threads == 1:
        for item in todo:
            todo.extend(on_done(item, contextvars.copy_context().run(fn, item)))
        return
    if not todo:
        return
    work = _Work(fn, todo)

    def grow(index: int, result: R) -> None:
        more = list(on_done(todo[index], result))
        todo.extend(more)
        work.add(more)

    _carry_out(work, threads, grow)


def _carry_out(work: _Work, threads: int, on_done: Callable[[int, Any], None] | None) -> None:
    pool = _borrow(threads)
    try:
        work.carry_out(pool, threads, on_done)
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


def _checked(num_threads: int | None) -> int:
    if num_threads is None:
        from mipro.context import settings  # noqa: PLC0415 - read at the call, not at import

        num_threads = int(settings.num_threads)
    if not is_whole(num_threads, 1):
        raise UserError(f"`num_threads` must be a whole number of at least 1, but got {num_threads!r}.")
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
    """The items of one call; each thread takes the next until there will be no more."""

    def __init__(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> None:
        self.results: dict[int, Any] = {}
        self.error: BaseException | None = None
        self._fn = fn
        self._context = contextvars.copy_context()
        self._todo: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._added = 0
        self._running = 0
        self._stopped = False
        self.add(items)

    def add(self, items: Iterable[Any]) -> None:
        """Take in further items; in the caller's thread only."""
        for item in items:
            self._todo.put((self._added, item))
            self._added += 1

    def drain(self) -> None:
        """Do items until there will be no more, then report that this thread is through."""
        try:
            while (task := self._todo.get()) is not None and not self._stopped:
                index, item = task
                self.results[index] = self._context.copy().run(self._fn, item)
                self._news.put(index)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            if self.error is None:
                self.error = error
            self._stopped = True
        finally:
            self._news.put(None)

    def carry_out(
        self, pool: ThreadPoolExecutor, threads: int, on_done: Callable[[int, Any], None] | None
    ) -> None:
        """Pass results on until all threads are through; no more of them begin than there are items."""
        done = 0
        self._begin(pool, min(threads, self._added))
        while self._running:
            try:
                index = self._news.get(timeout=SIGNAL_CHECK_S)
            except queue.Empty:
                continue
            if index is None:
                self._running -= 1
                if self._stopped:
                    self.stop()
                continue
            done += 1
            if on_done is not None:
                on_done(index, self.results[index])
            if done == self._added:
                self._end()
            elif not self._stopped:
                self._begin(pool, min(threads, self._added - done) - self._running)

    def _begin(self, pool: ThreadPoolExecutor, more: int) -> None:
        for _ in range(more):
            pool.submit(self.drain)
            self._running += 1

    def stop(self) -> None:
        """Begin no further item."""
        self._stopped = True
        self._end()

    def _end(self) -> None:
        for _ in range(self._running):
            self._todo.put(None)


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
