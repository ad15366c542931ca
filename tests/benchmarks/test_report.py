"""Tables of a race: what is averaged, and how sure it is."""

import pytest

import _racers
import _report


def outcome(setting, seed, gain):
    """Return what a racer gained of 1.0."""
    return _racers.Outcome(
        setting, "bayes", 1.0, seed, gain, 1.0, 1.0, gain, 0.0, candidate_is_original=False
    )


def test_a_share_has_the_standard_error_of_its_mean():
    """Over the seeds of one setting."""
    shares = _report.share_table([outcome("a", seed, gain) for seed, gain in enumerate((0.2, 0.4, 0.9))])
    assert _report.mean_share([*shares.values()]) == pytest.approx((0.5, 0.2082), abs=1e-4)


def test_settings_that_err_together_are_no_more_certain_than_one():
    """Tables of a seed are made of the same draws: what is luck in one setting is so in the others."""
    gains = (0.2, 0.4, 0.9)
    alike = [outcome(setting, seed, gain) for setting in "ab" for seed, gain in enumerate(gains)]
    assert _report.mean_share([*_report.share_table(alike).values()]) == pytest.approx(
        (0.5, 0.2082), abs=1e-4
    )
    apart = [outcome("a", seed, gain) for seed, gain in enumerate(gains)]
    apart += [outcome("b", seed, 1.0 - gain) for seed, gain in enumerate(gains)]
    assert _report.mean_share([*_report.share_table(apart).values()]) == pytest.approx((0.5, 0.0))
