"""Group commit: many threads hand over records, one thread writes them together."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mipro.errors import StateError

if TYPE_CHECKING:
    from typing import TypeAlias

    from mipro.runs._records import Record
    from mipro.runs._store import Store

    _Waiter: TypeAlias = Future[None] | asyncio.Future[None]

BATCH = 1000
"""Records that are waited for in one transaction at most."""
LINGER_S = 0.05
"""Seconds that a record nobody waits for may wait for company."""


class Writer:
    """Writes records, as many at once as have gathered.

    While one transaction is being written the next records gather, so the cost of a
    commit is shared under load and nobody waits longer than two commits. A record is never
    written after one that was handed over later and waited for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # None ends the thread; an empty tuple says that there are records nobody waits for.
        self._queue: queue.SimpleQueue[tuple[Record | None, _Waiter] | tuple[()] | None] = queue.SimpleQueue()
        self._unawaited: deque[Record] = deque()
        self._is_told = False
        self._failure: StateError | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._work, name="mipro-ledger", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Hand over a record and do not wait; see `flush`."""
        self._unawaited.append(record)
        if not self._is_told:
            self._is_told = True
            self._queue.put(())

    def kept(self, record: Record) -> Future[None]:
        """Hand over a record; the future is done once it is kept.

        The future raises `StateError` where the storage can't be written; so does
        every later one, since what follows would stand on a gap. So does one of a record that
        comes after `close`.
        """
        future: Future[None] = Future()
        self._hand_over(record, future)
        return future

    async def keep(self, record: Record) -> None:
        """Return once `record` is kept; those who wait on one loop are woken together.

        Raises:
            StateError: It can't be kept.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hand_over(record, future)
        await future

    def _hand_over(self, record: Record | None, waiter: _Waiter) -> None:
        self._queue.put((record, waiter))
        if self._has_ended:
            self._refuse_left()

    def check(self) -> None:
        """Raise where something can't be kept.

        Raises:
            StateError: Something that was handed over before could not be kept.
        """
        if self._failure is not None:
            raise self._failure

    def flush(self) -> None:
        """Return once all that was handed over before is kept.

        Raises:
            StateError: It can't be kept.
        """
        self._flushed().result()

    def _flushed(self) -> Future[None]:
        future: Future[None] = Future()
        self._hand_over(None, future)
        return future

    def close(self) -> None:
        """Write what was handed over and end the thread; who comes later is told that it is too late."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            awaited, closing = self._gather()
            records = [*self._take_unawaited(), *(record for record, _ in awaited if record is not None)]
            if records and self._failure is None:
                self._failure = self._write(records)
            self._tell([waiter for _, waiter in awaited], self._failure)
        # First, so that who comes from now on looks after itself.
        self._has_ended = True
        self._refuse_left()

    def _refuse_left(self) -> None:
        """Tell those who came after the end, whom nobody would tell otherwise."""
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._queue.get_nowait()
                if item:
                    late = StateError("a record can't be kept: the run it belongs to is closed.")
                    self._tell([item[1]], self._failure or late)

    def _take_unawaited(self) -> list[Record]:
        # First, so that a record that comes from now on is told of again.
        self._is_told = False
        taken = []
        while self._unawaited:
            taken.append(self._unawaited.popleft())
        return taken

    def _tell(self, waiters: list[_Waiter], failure: StateError | None) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for waiter in waiters:
            if isinstance(waiter, Future):
                _settle(waiter, failure)
            else:
                by_loop.setdefault(waiter.get_loop(), []).append(waiter)
        for loop, futures in by_loop.items():
            with contextlib.suppress(RuntimeError):  # closed: the process is ending
                loop.call_soon_threadsafe(_settle_all, futures, failure)

    def _write(self, records: list[Record]) -> StateError | None:
        try:
            self._store.append(records)
        except StateError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it is
            return StateError(f"a record can't be kept: {type(error).__name__}: {error}.")
        return None

    def _gather(self) -> tuple[list[tuple[Record | None, _Waiter]], bool]:
        """Return what is waited for, and whether it is the last."""
        awaited: list[tuple[Record | None, _Waiter]] = []
        item = self._queue.get()
        try:
            if item == ():
                item = self._queue.get(timeout=LINGER_S)
            while item is not None:
                if item:
                    awaited.append(item)
                if len(awaited) == BATCH:
                    return awaited, False
                item = self._queue.get_nowait()
        except queue.Empty:
            return awaited, False
        return awaited, True


def _settle(future: _Waiter, failure: StateError | None) -> None:
    if failure is None:
        future.set_result(None)
    else:
        future.set_exception(failure)


def _settle_all(futures: list[asyncio.Future[None]], failure: StateError | None) -> None:
    for future in futures:
        if not future.done():  # the one who waited may have gone
            _settle(future, failure)
