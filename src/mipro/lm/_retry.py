"""When a failed call is tried again: one policy for plain calls and for runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipro.errors import LMRateLimitError, LMTransientError

if TYPE_CHECKING:
    from random import Random

    from mipro.errors import LMError

FIRST_DELAY_S = 0.5  # as the OpenAI SDK's INITIAL_RETRY_DELAY
MAX_DELAY_S = 30.0
MAX_RETRY_AFTER_S = 300.0  # a server that asks for more is out of order for this call


def delay_s(error: LMError, attempt: int, rng: Random) -> float | None:
    """Return how long to wait before the next attempt, or None to give up.

    Exponential backoff with jitter, so that many clients that failed together do not
    come back together. A Retry-After of the server is a lower bound.

    Args:
        error: What the last attempt raised.
        attempt: How many attempts were made so far; at least 1.
        rng: Source of the jitter; advanced in place.

    Returns:
        Seconds, or None where another attempt can't help: the error is not of the
        passing kind, or the server asks to wait longer than 300 s.
    """
    if not isinstance(error, LMTransientError):
        return None
    ceiling = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 16))
    if isinstance(error, LMRateLimitError):
        ceiling = min(MAX_DELAY_S, 2.0 * ceiling)
    backoff = ceiling * rng.uniform(0.5, 1.0)
    asked = error.retry_after_s
    if asked is None:
        return backoff
    if asked > MAX_RETRY_AFTER_S:
        return None
    # The jitter on top keeps waiting clients from returning in one burst.
    return max(0.0, asked) + 0.1 * backoff
