"""The limit on calls in flight."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.runs._limiter import Limiter


async def _in_flight(limiter, calls, started, release):
    async def one():
        async with limiter.slot():
            started.append(1)
            await release.wait()

    tasks = [asyncio.ensure_future(one()) for _ in range(calls)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def test_nothing_is_limited_until_a_server_throttles():
    """Any number of calls is in flight at first."""

    async def scenario():
        started, release = [], asyncio.Event()
        tasks = await _in_flight(Limiter(), 300, started, release)
        release.set()
        await asyncio.gather(*tasks)
        return len(started)

    assert asyncio.run(scenario()) == 300


def test_throttling_lowers_the_limit_once_for_one_wave():
    """Many refusals of the same wave lower the limit by one factor, not by a power of it."""

    async def scenario():
        limiter = Limiter()
        started, release = [], asyncio.Event()
        tasks = await _in_flight(limiter, 99, started, release)
        async with limiter.slot() as epoch:
            for _ in range(20):
                limiter.throttled(epoch)
        release.set()
        await asyncio.gather(*tasks)
        return limiter.limit

    assert asyncio.run(scenario()) == pytest.approx(0.7 * 101)


@given(st.lists(st.booleans(), max_size=60))
def test_every_waiting_call_gets_its_turn(events):
    """Whatever throttling and successes happen, no call waits for ever."""

    async def one(limiter, throttle):
        async with limiter.slot() as epoch:
            await asyncio.sleep(0)
            if throttle:
                limiter.throttled(epoch)
            else:
                limiter.succeeded()

    async def scenario():
        limiter = Limiter()
        await asyncio.wait_for(asyncio.gather(*(one(limiter, throttle) for throttle in events)), 5)
        return limiter.limit

    assert asyncio.run(scenario()) >= 1
