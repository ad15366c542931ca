"""The retry policy."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.errors import (
    LMAuthError,
    LMConnectionError,
    LMRateLimitError,
    LMRequestError,
    LMServerError,
)
from mipro.lm import delay_s
from mipro.lm._retry import MAX_DELAY_S


@pytest.mark.parametrize("kind", [LMAuthError, LMRequestError])
def test_lasting_errors_are_given_up(kind):
    """An error that can't pass is not tried again."""
    assert delay_s(kind("no"), 1, Random(0)) is None


@given(st.integers(1, 10_000), st.sampled_from([LMServerError, LMConnectionError, LMRateLimitError]))
def test_delay_is_bounded(attempt, kind):
    """The delay is above 0 and at most 30 s, however many attempts there were."""
    assert 0 < delay_s(kind("x"), attempt, Random(attempt)) <= MAX_DELAY_S


def test_delay_grows():
    """Later attempts wait longer."""
    delays = [delay_s(LMServerError("x"), attempt, Random(0)) for attempt in (1, 3, 5)]
    assert delays == sorted(delays)
    assert delays[-1] > 4 * delays[0]


def test_jitter_spreads():
    """Clients that failed together do not come back together."""
    assert len({delay_s(LMServerError("x"), 1, Random(seed)) for seed in range(20)}) == 20


@given(st.floats(0, 300))
def test_retry_after_is_a_lower_bound(asked):
    """The server's own figure is kept to, and hardly exceeded."""
    waited = delay_s(LMRateLimitError("x", retry_after_s=asked), 1, Random(1))
    assert asked <= waited <= asked + 0.2


def test_absurd_retry_after_gives_up():
    """A server that asks for an hour ends the call."""
    assert delay_s(LMRateLimitError("x", retry_after_s=3600), 1, Random(0)) is None
