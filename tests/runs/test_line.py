"""The line to one model: its pace, and whether it is alive."""

import asyncio
import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.runs._line import DEAD_AFTER, Line


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """Return the time."""
        return self.now

    async def sleep(self, seconds):
        """Move on."""
        self.now += seconds
        await asyncio.sleep(0)


async def serve(line, clock, *, capacity, seconds):
    """Send as fast as the line allows to a server of `capacity` a second; return what it took and refused."""
    allowance, filled_at, taken, refused = 1.0, clock.now, 0, 0
    end = clock.now + seconds
    while clock.now < end:
        async with line.turn(clock.sleep):
            clock.now += 0.001
            burst = max(1.0, 0.1 * capacity)
            allowance = min(burst, allowance + (clock.now - filled_at) * capacity)
            filled_at = clock.now
            if allowance >= 1.0:
                allowance -= 1.0
                taken += 1
                line.answered()
            else:
                refused += 1
                line.refused(wait_s := (1.0 - allowance) / capacity)
                await clock.sleep(wait_s)
    return taken, refused


def test_nothing_is_limited_until_a_server_throttles():
    """Calls go out as they come at first."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        taken, refused = await serve(line, clock, capacity=10_000, seconds=1.0)
        return taken, refused, line.rate

    taken, refused, rate = asyncio.run(scenario())
    assert taken >= 900
    assert (refused, rate) == (0, float("inf"))


@pytest.mark.parametrize("capacity", [3, 20, 200])
def test_a_limit_is_used_to_nine_tenths(capacity):
    """Once a server's rate is found, 90 % of it is used; by Retry-After alone half would be refused."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        await serve(line, clock, capacity=capacity, seconds=20)
        return await serve(line, clock, capacity=capacity, seconds=60)

    taken, refused = asyncio.run(scenario())
    assert taken >= 0.9 * capacity * 60
    assert refused < 0.4 * (taken + refused)


@pytest.mark.parametrize(("capacity", "senders"), [(10, 32), (20, 64), (50, 64), (100, 64)])
def test_a_limit_is_used_where_waits_are_rounded_up(capacity, senders):
    """A server that says Retry-After in whole seconds, when its last second was full, was used to a half."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        waiting, turns, accepted = [], itertools.count(), []

        async def sleep(seconds):
            done = asyncio.get_running_loop().create_future()
            heapq.heappush(waiting, (clock.now + seconds, next(turns), done))
            await done

        async def send():
            while True:
                async with line.turn(sleep):
                    is_taken = sum(at > clock.now - 1.0 for at in accepted[-capacity:]) < capacity
                    if is_taken:
                        accepted.append(clock.now)
                    await sleep(0.1 if is_taken else 0.02)
                if is_taken:
                    line.answered()
                else:
                    line.refused(1.0)
                    await sleep(1.0)

        tasks = [asyncio.ensure_future(send()) for _ in range(senders)]
        while clock.now < 80.0:
            for _ in range(8):
                await asyncio.sleep(0)  # all go on until they sleep
            clock.now, _, done = heapq.heappop(waiting)
            done.set_result(None)
        for task in tasks:
            task.cancel()
        return sum(at > 20.0 for at in accepted)

    assert asyncio.run(scenario()) >= 0.9 * capacity * 60


def test_rate_grows_again_when_the_limit_clears():
    """A limit that is lifted is outgrown."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        await serve(line, clock, capacity=10, seconds=20)
        before = line.rate
        await serve(line, clock, capacity=10_000, seconds=100)
        return before, line.rate

    before, after = asyncio.run(scenario())
    assert before < 20
    assert after > 200


def test_refusals_of_earlier_calls_do_not_stop_the_line():
    """Calls in flight that are refused in the next window do not mean that the server takes nothing."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        for _ in range(60):
            async with line.turn(clock.sleep):
                clock.now += 0.02
        for outcomes in (15 * [False] + [True], 30 * [False]):
            for answered in outcomes:
                line.answered() if answered else line.refused(1.0)
            for _ in range(11):
                async with line.turn(clock.sleep):
                    pass
        line.refused(1.0)
        return line.rate

    assert asyncio.run(scenario()) > 1


def test_rate_outlives_a_server_that_refuses_everything():
    """After seconds of nothing but refusals the rate is soon back; it was a call in ten seconds."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        while clock.now < 3.0:
            async with line.turn(clock.sleep):
                clock.now += 0.02
                line.refused(None)
        taken, _ = await serve(line, clock, capacity=10_000, seconds=20.0)
        return taken

    assert asyncio.run(scenario()) > 200


def test_different_calls_given_up_mean_a_dead_model():
    """The same call given up again and again does not."""
    line = Line()
    assert not any(line.gave_up("same") for _ in range(10))
    assert [line.gave_up(str(i)) for i in range(DEAD_AFTER - 1)][-1]


def test_what_failed_beside_a_living_model_is_no_sign_of_death():
    """Examples that a server stumbles over each time never add up to a dead model."""
    line = Line()
    for i in range(10):
        line.gave_up(str(i))
        line.answered("another")
    assert not any(line.gave_up(str(i)) for i in range(10))


def test_an_answer_ends_the_pause():
    """A model that answers is alive, whatever was before."""
    clock = Clock()
    line = Line(clock)
    line.failed(probe=False, retry_after_s=None)
    line.pause()
    clock.now = 5.0
    assert line.failing_s() == 5.0
    line.answered()
    assert (line.paused, line.failing_s()) == (False, 0.0)


async def probed(line, clock, seconds):
    """Ask a model that is down as often as the line allows; return when."""
    asked, end = [], clock.now + seconds
    while clock.now < end:
        async with line.turn(clock.sleep) as probe:
            asked.append(clock.now)
            line.failed(probe=probe, retry_after_s=None)
            line.pause()
    return asked


def test_a_model_that_is_down_is_asked_less_and_less():
    """After 1, 2, 4 s and so on, at last each minute; once it has answered the next pause begins anew."""

    async def scenario():
        clock = Clock()
        line = Line(clock)
        first = await probed(line, clock, 300.0)
        clock.now = 1000.0
        line.answered()
        return first, await probed(line, clock, 5.0)

    first, second = asyncio.run(scenario())
    assert first == pytest.approx([0, 0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303])
    assert second == pytest.approx([1000, 1000, 1001, 1003, 1007])


@given(st.lists(st.sampled_from(["answer", "refuse", "fail"]), max_size=60))
def test_every_waiting_call_gets_its_turn(events):
    """Whatever answers, refusals and failures happen, no call waits for ever."""

    async def one(line, clock, event):
        async with line.turn(clock.sleep) as probe:
            await asyncio.sleep(0)
            if event == "answer":
                line.answered()
            elif event == "refuse":
                line.refused(0.5)
            else:
                line.failed(probe=probe, retry_after_s=None)
                line.pause()
        return event

    async def scenario():
        clock = Clock()
        line = Line(clock)
        return await asyncio.wait_for(asyncio.gather(*(one(line, clock, event) for event in events)), 5)

    assert asyncio.run(scenario()) == events
