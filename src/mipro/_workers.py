"""Who does what is to be done beside each other: threads, or the one that waits."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


class Threads(ThreadPoolExecutor):
    """Threads that do what is submitted."""

    def work(self) -> bool:
        """Return False: the threads do all there is."""
        return False


class OwnThread(Executor):
    """Does what is submitted in the thread of the one who waits for it, and who calls `work`.

    A program run by one thread may hold what only the thread that made it can use (a connection of
    sqlite3, an event loop, a signal), and may be stopped by a debugger.
    """

    def __init__(self) -> None:
        self._todo: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """Put a call at the end of the line."""
        future: Future[R] = Future()
        self._todo.append((future, partial(fn, *args, **kwargs)))
        return future

    def work(self) -> bool:
        """Do what is next in line; return whether there was anything."""
        if not self._todo:
            return False
        future, task = self._todo.popleft()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - for the one who waits, as in a thread
                future.set_exception(error)
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave what is in line: nobody waits for it any more."""
        del wait, cancel_futures
        while self._todo:
            self._todo.popleft()[0].cancel()


def workers(num_threads: int, name: str) -> Threads | OwnThread:
    """Return what does `num_threads` things at once; one thread means that of the one who waits.

    Args:
        num_threads: How many; at least 1.
        name: What the names of threads begin with.
    """
    return OwnThread() if num_threads <= 1 else Threads(num_threads, thread_name_prefix=name)
