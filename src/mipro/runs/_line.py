"""The line to one model: how fast it takes calls, and whether it answers at all."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

DEAD_AFTER = 3
"""Different things asked in vain, with no answer between them, after which a model counts as down.
One or two may be what the server stumbles over."""
FIRST_PROBE_S = 1.0
MAX_PROBE_S = 60.0
WINDOW_S = 1.0
"""Seconds over which refusals are weighed; a shorter window mistakes a server's burst allowance
for its rate."""
WINDOW_CALLS = 8
REFUSED_SHARE = 0.15
"""Share of 429 above which the rate is lowered. Below it a limit is used up to the last call, and a
server that refuses at random is not slowed down."""
DECREASE = 0.9
"""Factor on the rate at most, for a window in which no more than half is refused."""
MOST_DECREASE = 0.5
"""The same for any window: a server that refuses all for a while, or refuses only now what was sent in the
window before, does not tell how much it takes."""
GROWTH = 1.05
"""Factor on the rate for each window with few refusals, squared after each with none."""
MIN_RATE = 0.1
ROUNDED_S = 1.0
"""Seconds that a Retry-After may be too long by: servers round it up to whole ones. The call that was refused
waits for all of it, but where all calls did, half of a limit and more was left unused."""
CREDIT_S = 0.1
"""Seconds of pace that a late call may make up for: a busy machine wakes nobody on time."""
LATE_S, LATE_FACTOR = 30.0, 10.0
"""Seconds after which a request may be late, and how many times as long as others it must have taken: enough
that a long answer is hardly ever paid for twice."""
LEAST_TIMED, MOST_TIMED = 16, 64
"""Answers from which that average is known, and those that it is of, about."""
_AT_ONCE = nullcontext(False)


class Line:
    """Paces the calls to one model and pauses them while it is down.

    Nothing is limited until the server answers 429. From then on calls are sent at the rate
    that it was seen to accept, which grows again until it refuses again: that keeps the number
    of calls in flight at what the server takes, whatever its latency. Used on one event loop.

    Attributes:
        rate: Calls a second, infinite at first.
        paused: Whether calls wait for one among them to find the model alive.
        failing_since: When the first failure after the last answer was, or None.
        answers: How often the model answered in this session.
        reached: Whether a server said anything, be it a refusal: the address is right.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate: float = float("inf")
        self.paused: bool = False
        self.failing_since: float | None = None
        self.answers: int = 0
        self.reached: bool = False
        self._clock = clock
        self._queue = asyncio.Lock()
        self._held_until = 0.0
        self._paced_until = 0.0
        self._probe_wait_s = FIRST_PROBE_S
        self._given_up: set[str] = set()
        self._suspects: set[str] = set()
        self._growth = GROWTH
        self._timed = 0
        self._mean_s = 0.0
        self._since = clock()
        self._sent = 0
        self._refused = 0

    def turn(self, sleep: Callable[[float], Awaitable[None]]) -> AbstractAsyncContextManager[bool]:
        """Wait until a call may be sent.

        Args:
            sleep: Waits for some seconds; raises where the run stops meanwhile.

        Returns:
            A block that gives whether the call is the one that finds out if the model is alive
            again; the others wait until it is back.
        """
        if self.rate == float("inf") and not self.paused and self._clock() >= self._held_until:
            self._sent += 1
            return _AT_ONCE
        return self._in_turn(sleep)

    @asynccontextmanager
    async def _in_turn(self, sleep: Callable[[float], Awaitable[None]]) -> AsyncIterator[bool]:
        async with self._queue:
            while (wait_s := max(self._held_until, self._paced_until) - self._clock()) > 0:
                await sleep(wait_s)
            self._paced_until = max(self._paced_until, self._clock() - CREDIT_S) + 1.0 / self.rate
            self._sent += 1
            if self.paused:
                yield True
                return
        yield False

    @property
    def late_s(self) -> float:
        """Seconds after which a request is late; infinite while it is not known what they take."""
        return math.inf if self._timed < LEAST_TIMED else max(LATE_S, LATE_FACTOR * self._mean_s)

    def took(self, seconds: float) -> None:
        """Note what an answer took."""
        self._timed += 1
        self._mean_s += (seconds - self._mean_s) / min(self._timed, MOST_TIMED)

    def answered(self, subject: str = "") -> None:
        """Note an answer, be it a refusal of the request itself: the model is alive.

        Args:
            subject: What was asked about.
        """
        self.paused = False
        self.answers += 1
        self.reached = True
        self.failing_since = None
        self._probe_wait_s = FIRST_PROBE_S
        self._suspects |= self._given_up
        self._suspects.discard(subject)
        self._given_up.clear()
        self._weigh()

    def refused(self, retry_after_s: float | None) -> None:
        """Note a 429; a Retry-After holds all calls, but for what it may have been rounded up by."""
        self.paused = False
        self.reached = True
        self._refused += 1
        self._mark_failing()
        self._weigh()
        if retry_after_s is not None:
            # The call did not count, and the server knows best.
            self._paced_until = min(self._paced_until, self._clock() + retry_after_s)
            self.hold(retry_after_s - ROUNDED_S)

    def failed(self, *, probe: bool, retry_after_s: float | None) -> None:
        """Note that a call got no answer."""
        self._mark_failing()
        self.hold(retry_after_s or 0.0)
        if probe:
            self.hold(self._probe_wait_s)
            self._probe_wait_s = min(2.0 * self._probe_wait_s, MAX_PROBE_S)

    def gave_up(self, subject: str) -> bool:
        """Note that a call is given up; tell whether the model counts as down by now.

        Args:
            subject: What was asked about. It says nothing about the model where it was asked
                in vain before while the model answered others.
        """
        if subject not in self._suspects:
            self._given_up.add(subject)
        return len(self._given_up) >= DEAD_AFTER

    def pause(self) -> None:
        """Let one call at a time find out whether the model is back."""
        self.paused = True

    def hold(self, seconds: float) -> None:
        """Send nothing for some seconds."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def failing_s(self) -> float:
        """Return for how many seconds there has been no answer."""
        return 0.0 if self.failing_since is None else self._clock() - self.failing_since

    def _mark_failing(self) -> None:
        if self.failing_since is None:
            self.failing_since = self._clock()

    def _weigh(self) -> None:
        span_s = self._clock() - self._since
        if span_s < WINDOW_S or self._sent < WINDOW_CALLS:
            return
        if self._refused > REFUSED_SHARE * self._sent:
            # Calls in flight count as accepted: a refusal is quick, an answer may take minutes.
            accepted = (self._sent - self._refused) / span_s
            pace = self.rate if math.isfinite(self.rate) else self._sent / span_s
            # Just above its limit a server without a burst allowance refuses every other call,
            # which says little about the limit.
            is_near = pace == self.rate and 2 * self._refused <= self._sent
            self._growth = GROWTH
            self.rate = max(accepted, MIN_RATE, (DECREASE if is_near else MOST_DECREASE) * pace)
        else:
            # Faster and faster while nothing at all is refused: the limit may have been lifted.
            self._growth = GROWTH if self._refused else min(self._growth**2, 2.0)
            self.rate *= self._growth
        self._since += span_s
        self._sent = self._refused = 0
