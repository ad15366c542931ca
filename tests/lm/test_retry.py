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


@pytest.mark.parametrize(
    ("kind", "attempt", "most"),
    [
        (LMServerError, 1, 0.5),
        (LMServerError, 2, 1.0),
        (LMServerError, 3, 2.0),
        (LMServerError, 9, 30.0),
        (LMRateLimitError, 1, 1.0),
        (LMRateLimitError, 2, 2.0),
        (LMRateLimitError, 9, 30.0),
    ],
)
def test_delay_doubles_and_is_spread(kind, attempt, most):
    """Each attempt waits twice as long, after a 429 twice that; clients that failed together spread."""
    delays = [delay_s(kind("x"), attempt, Random(seed)) for seed in range(100)]
    assert [min(delays), max(delays)] == pytest.approx([0.5 * most, most], rel=0.02)


@given(st.floats(0, 300), st.sampled_from(["retry_after_s", "retry_after"]))
def test_retry_after_is_a_lower_bound(asked, name):
    """The server's own figure is kept to, and hardly exceeded; a model of one's own may use DSPy's name."""
    waited = delay_s(LMRateLimitError("x", **{name: asked}), 1, Random(1))
    assert asked < waited <= asked + 0.1


def test_absurd_retry_after_gives_up():
    """A server that asks for an hour ends the call."""
    assert delay_s(LMRateLimitError("x", retry_after_s=3600), 1, Random(0)) is None
