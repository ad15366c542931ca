"""The knowledge gradient against what it stands for."""

import numpy as np
import pytest

from mipro.search._gradient import Outlook


def outlook_on(means, covariance, noise):
    """Beliefs under one setting of the variances."""
    return Outlook(np.array([means]), np.array([covariance]), np.array([noise]))


def test_worth_is_the_expected_rise_of_the_best_mean():
    """Of one uncertain candidate beside a known one it equals the normal loss integral."""
    outlook = outlook_on([0.0, -0.3], np.diag([1e-12, 4.0]), 1e-9)
    worth = outlook.gradient(np.array([1, 1]), np.array([1, 1]))
    draws = np.random.default_rng(0).normal(-0.3, 2.0, 400_000)
    assert worth[1] == pytest.approx(np.maximum(draws, 0.0).mean(), rel=0.05)
    assert worth[0] == pytest.approx(0.0, abs=1e-5)


def test_several_blocks_are_looked_at():
    """What one block can't change but sixteen can is worth something."""
    means, covariance = [0.0, -0.3], np.diag([1e-9, 1.0])
    short = outlook_on(means, covariance, 1000.0).gradient(np.array([8, 8]), np.array([8, 8]))
    long = outlook_on(means, covariance, 1000.0).gradient(np.array([8, 8]), np.array([128, 128]))
    assert long[1] > 10 * max(short[1], 1e-12)


def test_what_is_planned_is_worth_less():
    """Once a block is planned, more of the same tells less."""
    outlook = outlook_on(np.zeros(3), np.eye(3), 4.0)
    blocks, free = np.array([8, 8, 8]), np.array([8, 8, 8])
    before = outlook.gradient(blocks, free)
    outlook.plan(1, 8)
    after = outlook.gradient(blocks, free)
    assert after[1] < before[1]
    assert np.argmax(after) != 1


def test_candidates_that_can_not_be_asked_are_worth_nothing():
    """They are never chosen."""
    outlook = outlook_on(np.zeros(2), np.eye(2), 1.0)
    assert outlook.gradient(np.array([0, 8]), np.array([0, 8]))[0] == -np.inf


def test_settings_under_which_nothing_differs_have_no_say():
    """Where one setting of the variances takes everything for alike, the other decides what to measure."""
    means = np.array([[0.0, -0.3, 0.0], [0.0, 0.0, 1e-6]])
    covariance = np.array([np.diag([1e-9, 1.0, 1e-9]), np.diag([1e-9, 1e-9, 1e-6])])
    worth = Outlook(means, covariance, np.array([1.0, 1.0])).gradient(np.full(3, 8), np.full(3, 64))
    assert np.argmax(worth) == 1
