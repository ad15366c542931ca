"""How many calls may be in flight: unlimited until a server says that it is too many."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DECREASE = 0.7
"""Factor on the limit when a server throttles; 0.5 (TCP Reno) wastes more of a steady limit,
0.7 is TCP CUBIC's (RFC 9438, section 4.6)."""


class Limiter:
    """Additive increase, multiplicative decrease of the calls in flight to one model.

    Used on the I/O loop only, so it needs no lock.
    """

    def __init__(self) -> None:
        self._limit = float("inf")
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._epoch = 0

    @property
    def limit(self) -> float:
        """Calls that may be in flight now."""
        return self._limit

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[int]:
        """Wait for a place in flight; yields the epoch to hand to `throttled`."""
        while self._in_flight >= self._limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._in_flight += 1
        try:
            yield self._epoch
        finally:
            self._in_flight -= 1
            self._wake()

    def throttled(self, epoch: int) -> None:
        """Lower the limit, once for all the calls that were sent in the same epoch."""
        if epoch == self._epoch:
            self._epoch += 1
            self._limit = max(1.0, DECREASE * min(self._limit, self._in_flight + 1))

    def succeeded(self) -> None:
        """Raise the limit by one for each full round of successes."""
        if self._limit != float("inf"):
            self._limit += 1.0 / self._limit
            self._wake()

    def _wake(self) -> None:
        free = self._limit - self._in_flight
        while self._waiting and free >= 1:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
