"""A request that is late is sent once more: its connection has died, more likely than not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from mipro.lm import LMResponse


async def first_answer(
    send: Callable[[], Coroutine[Any, Any, LMResponse]], late_s: float, send_again: Callable[[], bool]
) -> LMResponse:
    """Return the answer of a request or, where it is late, of a second one, whichever comes first.

    The other is left: cancelled, whether or not it would have been answered.

    Args:
        send: Sends it.
        late_s: Seconds after which it is late.
        send_again: Asked then whether a second one is to be sent.

    Raises:
        Exception: What the last one raised, where none is answered.
    """
    flights = {asyncio.ensure_future(send())}
    try:
        done, _ = await asyncio.wait(flights, timeout=late_s)
        if not done and send_again():
            flights.add(asyncio.ensure_future(send()))
        while True:
            done, flights = await asyncio.wait(flights, return_when=asyncio.FIRST_COMPLETED)
            answered = [flight for flight in done if flight.exception() is None]
            if answered or not flights:
                return (answered or list(done))[0].result()
    finally:
        for flight in flights:
            flight.cancel()
